import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { encodeEntry } from "../../ballot/entry.ts";
import { decodeUtf8 } from "../../core/bytes.ts";
import { messageOf } from "../../core/errors.ts";
import { type ElectionId, positionOf, voteId } from "../../core/ids.ts";
import { findEntry } from "../../receipt/find-entry.ts";
import { verifyReceipt } from "../../receipt/receipt.ts";
import { TileReader } from "../../tlog/tile-reader.ts";
import { formatTlogProof } from "../../tlog/tlog-proof.ts";
import { httpSource, type PublicSource } from "../../verify/http-source.ts";
import { parseCount, parseLogKey, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { ExitCode, UnreachableError, UsageError } from "../exit-code.ts";
import { readPublished } from "../published.ts";

interface ReceiptOptions {
  readonly election?: string;
  readonly public?: string;
  readonly out?: string;
  readonly logKey?: string;
}

export function receiptCommand(program: Command, { run, terminal }: Cli): void {
  program
    .command("receipt")
    .description("prove that a vote is in the public log, as a .tlog-proof (c2sp.org/tlog-proof)")
    .argument("<vote-id>", "the number the vote got when it was cast", parseCount)
    .option("--election <id>", "the profile's unless given")
    .option("--public <url>", "the public endpoint; the profile's unless given", parseUrl)
    .option("--out <file>", "write it to a file")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .action((vote: number, options: ReceiptOptions) =>
      run(async (context) => {
        const electionId = context.election(options.election);
        const source = httpSource(options.public ?? context.setting("public"), electionId);
        const receipt = await makeReceipt(source, electionId, vote, options.logKey);
        if (options.out === undefined) {
          return context.show({ vote_id: vote, receipt }, () => receipt.trimEnd());
        }
        await writeFile(options.out, receipt).catch((error) => {
          throw new UsageError(`${options.out} cannot be written: ${messageOf(error)}`);
        });
        terminal.say(`wrote ${options.out}`);
        return ExitCode.ok;
      }),
    );
}

/**
 * A receipt, of the log that the public sees: with its newest checkpoint as it is, cosignatures included. Made of public
 * files alone, so that a voter needs no certificate and nobody's permission.
 */
async function makeReceipt(
  source: PublicSource,
  electionId: ElectionId,
  vote: number,
  logKey: string | undefined,
): Promise<string> {
  const published = await readPublished(source, electionId, logKey);
  if (!published) throw new UnreachableError(`nothing of ${electionId} is published yet: try again soon`);
  const { manifest, log, checkpoint, note } = published;
  const reader = new TileReader({ fetch: source, ...checkpoint });
  const found = await findEntry(reader, positionOf(voteId(vote), manifest.shards));
  if (!found) {
    // The log has none of a vote that was never cast, either; whoever has a promise can tell the two apart.
    throw new UnreachableError(
      `vote ${vote} is not among the ${checkpoint.size} entries that are signed: if it was cast just now, try again in a second`,
    );
  }
  const { index, entry } = found;
  const extra = encodeEntry(entry);
  const proof = await reader.inclusionProof(index);
  const receipt = formatTlogProof({ extra, index, proof, checkpoint: decodeUtf8(note) });
  // As whoever gets it will do.
  verifyReceipt({ receipt, log });
  return receipt;
}

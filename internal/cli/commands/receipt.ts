import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import type { GetInclusionProofResponse } from "../../../gen/ts/psephos/audit/v1/audit_pb.js";
import { decodeEntry } from "../../ballot/entry.ts";
import { messageOf, ServiceError } from "../../core/errors.ts";
import { type ElectionId, positionOf, voteId } from "../../core/ids.ts";
import { asHash } from "../../core/sha256.ts";
import type { Checkpoint } from "../../tlog/checkpoint.ts";
import { verifyInclusion } from "../../tlog/proof.ts";
import { formatTlogProof } from "../../tlog/tlog-proof.ts";
import { leafHash } from "../../tlog/tree.ts";
import { httpSource } from "../../verify/http-source.ts";
import { parseCount, parseLogKey } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { CheckFailedError, ExitCode, UnreachableError, UsageError } from "../exit-code.ts";
import { readPublished } from "../published.ts";

interface ReceiptOptions {
  readonly election?: string;
  readonly out?: string;
  readonly logKey?: string;
}

export function receiptCommand(program: Command, { run, terminal }: Cli): void {
  program
    .command("receipt")
    .description("prove that a vote is in the public log, as a .tlog-proof (c2sp.org/tlog-proof)")
    .argument("<vote-id>", "the number the vote got when it was cast", parseCount)
    .option("--election <id>", "the profile's unless given")
    .option("--out <file>", "write it to a file")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names", parseLogKey)
    .action((vote: number, options: ReceiptOptions) =>
      run(async (context) => {
        const receipt = await fetchReceipt(context, context.election(options.election), vote, options.logKey);
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
 * A receipt: proof, in the form of c2sp.org/tlog-proof, that a vote's entry is in the log the public sees. It says that
 * the vote is recorded and nothing of how it was cast. It is verified here before it is handed out.
 */
async function fetchReceipt(
  context: CliContext,
  electionId: ElectionId,
  vote: number,
  logKey: string | undefined,
): Promise<string> {
  const published = await readPublished(
    httpSource(context.setting("public"), electionId),
    electionId,
    logKey,
  );
  if (!published) throw new UnreachableError(`nothing of ${electionId} is published yet: try again soon`);
  const { manifest, checkpoint, note } = published;
  const answer = await inclusionProof(context, electionId, vote, checkpoint);
  const { shard, sequence } = positionOf(voteId(vote), manifest.shards);
  const entry = decodeEntry(answer.entry);
  if (entry.type !== "vote" || entry.shard !== shard || entry.sequence !== sequence) {
    throw new CheckFailedError("AuditService answered with the entry of another vote");
  }
  const index = Number(answer.index);
  const proof = answer.proof.map((hash) => asHash(hash));
  verifyInclusion({
    leaf: leafHash(answer.entry),
    index,
    size: checkpoint.size,
    proof,
    root: checkpoint.root,
  });
  return formatTlogProof({ extra: answer.entry, index, proof, checkpoint: new TextDecoder().decode(note) });
}

async function inclusionProof(
  context: CliContext,
  electionId: ElectionId,
  vote: number,
  { size }: Checkpoint,
): Promise<GetInclusionProofResponse> {
  try {
    return await context.audit("client").getInclusionProof({
      electionId,
      entry: { case: "voteId", value: BigInt(vote) },
      treeSize: BigInt(size),
    });
  } catch (error) {
    // The size is one that was signed, so that only the vote can be out of range: sealed a moment too late, or never.
    const isMissing = error instanceof ServiceError && /^(not-found|invalid-argument)$/.test(error.kind);
    if (!isMissing) throw error;
    throw new UnreachableError(
      `vote ${vote} is not among the ${size} entries that are signed: if it was cast just now, try again in a second`,
    );
  }
}

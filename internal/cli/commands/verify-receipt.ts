import type { Command } from "commander";
import { toHex } from "../../core/bytes.ts";
import { voteIdOf } from "../../core/ids.ts";
import { followKeyChange } from "../../evidence/key-change.ts";
import { MAX_RECEIPT_BYTES, type VerifiedReceipt, verifyReceipt } from "../../receipt/receipt.ts";
import { LogKeys } from "../../tlog/log-keys.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import type { WitnessPolicy } from "../../tlog/witness-policy.ts";
import { parseLogKey } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { CheckFailedError, UsageError } from "../exit-code.ts";
import { formatCount, formatTime } from "../terminal.ts";
import { readManifestFile, readPolicyFile, readVoterFile } from "../voter-file.ts";

interface VerifyReceiptCommandOptions {
  readonly logKey?: string;
  readonly manifest?: string;
  readonly keyChanges?: readonly string[];
  readonly policy?: string;
}

/** `verify receipt`: everything it needs is in files and on the command line, so that it runs where no network is. */
export function verifyReceiptCommand(verify: Command, { run }: Cli): void {
  verify
    .command("receipt")
    .description("check a receipt offline, with the log's key alone: that the log has the vote it is of")
    .argument("<file>", "a .tlog-proof file, as the receipt command writes it")
    .option("--log-key <key>", "the log's verifier key, from somebody you trust", parseLogKey)
    .option(
      "--manifest <file>",
      "the election's manifest, which names the log's key and tells the vote's number",
    )
    .option(
      "--key-changes <file...>",
      "the log's changes of key up to the receipt, in order: the public log has them as key-changes/0000000001 …",
    )
    .option(
      "--policy <file>",
      "also demand the witnesses' cosignatures that this policy asks for (c2sp.org/tlog-policy)",
    )
    .action((file: string, _: unknown, command: Command) =>
      run(async (context) => {
        // Those that `verify` has, too, are taken by it.
        const options = command.optsWithGlobals<VerifyReceiptCommandOptions>();
        const manifest =
          options.manifest === undefined ? undefined : await readManifestFile(options.manifest);
        const key = options.logKey ?? manifest?.logKey;
        if (key === undefined)
          throw new UsageError("name the log's key with --log-key, or a --manifest that does");
        let log = new LogKeys(NoteVerifier.parse(key));
        for (const change of options.keyChanges ?? []) {
          log = followKeyChange(log, await readVoterFile(change, MAX_RECEIPT_BYTES));
        }
        const policy = await readPolicyFile(options.policy);
        const receipt = verifyReceipt({
          receipt: await readVoterFile(file, MAX_RECEIPT_BYTES),
          log,
          witnesses: policy?.witnesses.map(({ verifier }) => verifier) ?? [],
        });
        if (policy) requireQuorum(receipt, policy);
        const vote = { receipt, shards: manifest?.shards };
        return context.show(receiptJson(vote), () => describeReceipt(vote, policy).join("\n"));
      }),
    );
}

/** Fewer witnesses than somebody asks for is no receipt for them, though nothing in it is wrong. */
function requireQuorum({ cosignatures }: VerifiedReceipt, policy: WitnessPolicy): void {
  if (policy.isSatisfiedBy(cosignatures.map(({ verifier }) => verifier))) return;
  const by = cosignatures.map(({ verifier }) => verifier.name).join(", ") || "none of its witnesses";
  throw new CheckFailedError(`the receipt's checkpoint is cosigned by ${by}, and the policy asks for more`);
}

interface Vote {
  readonly receipt: VerifiedReceipt;
  /** Of the election, where they are known: what a vote's number is made of, with its shard and sequence. */
  readonly shards: number | undefined;
}

function receiptJson({ receipt, shards }: Vote): object {
  const { entry, index, checkpoint, cosignatures } = receipt;
  return {
    result: "ok",
    origin: checkpoint.origin,
    log_size: checkpoint.size,
    root: toHex(checkpoint.root),
    index,
    ...(shards === undefined ? {} : { vote_id: voteIdOf(entry.shard, entry.sequence, shards) }),
    shard: entry.shard,
    sequence: entry.sequence,
    record_hash: toHex(entry.recordHash),
    cosignatures: cosignatures.map(({ verifier, timestamp }) => ({ name: verifier.name, timestamp })),
  };
}

function describeReceipt({ receipt, shards }: Vote, policy: WitnessPolicy | undefined): string[] {
  const { entry, index, checkpoint, cosignatures } = receipt;
  const number = shards === undefined ? "" : `number ${voteIdOf(entry.shard, entry.sequence, shards)}, `;
  return [
    `checked: it is of the vote ${number}shard ${entry.shard}, sequence ${entry.sequence}`,
    `checked: its record hash is ${toHex(entry.recordHash)}`,
    `checked: ${checkpoint.origin} signed a log of ${formatCount(checkpoint.size)} entries`,
    ...cosignatures.map(({ verifier, timestamp = 0 }) => {
      return `checked: ${verifier.name} cosigned it at ${formatTime(timestamp * 1_000_000)}`;
    }),
    ...(policy ? [] : ["not checked: who witnessed the log, which --policy asks for"]),
    `checked: that log has the vote at index ${index}`,
    "result: ok",
  ];
}

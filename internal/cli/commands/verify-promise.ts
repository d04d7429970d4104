import type { Command } from "commander";
import { type Manifest, manifestHash, parseManifest } from "../../ballot/manifest.ts";
import { toHex } from "../../core/bytes.ts";
import { messageOf } from "../../core/errors.ts";
import { type VoteId, voteIdOf } from "../../core/ids.ts";
import {
  MAX_PROMISE_BYTES,
  parsePromise,
  parseStatement,
  type VerifiedPromise,
  verifyPromise,
} from "../../receipt/promise.ts";
import { type Breach, judgePromise, type PromiseFate } from "../../receipt/promise-fate.ts";
import { type OpenedCheckpoint, openCheckpoint } from "../../tlog/checkpoint.ts";
import type { WitnessPolicy } from "../../tlog/witness-policy.ts";
import { httpSource, type PublicSource } from "../../verify/http-source.ts";
import { parseLogKey, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import { CheckFailedError, ExitCode, UnreachableError } from "../exit-code.ts";
import { bar } from "../progress-bar.ts";
import { readLogKeys } from "../published.ts";
import { formatCount, formatTime } from "../terminal.ts";
import { readManifestFile, readPolicyFile, readVoterFile } from "../voter-file.ts";

interface VerifyPromiseCommandOptions {
  readonly public?: string;
  readonly manifest?: string;
  readonly logKey?: string;
  readonly policy?: string;
}

const EXIT_STATUS = `
What it says: the promise is kept (exit status 0), not yet due and not yet kept (3), or broken (1). A broken promise can be shown
to anybody: the file, the signed checkpoint and the log's tiles are all it takes. That a log is late needs a clock that others
believe: a witness's, which --policy names.`;

export function verifyPromiseCommand(verify: Command, { run, terminal, stopSignal }: Cli): void {
  verify
    .command("promise")
    .description("check a promise, and whether the public log keeps it")
    .argument("<file>", "a .promise file, as cast writes it")
    .option("--public <url>", "the public endpoint; the profile's unless given", parseUrl)
    .option("--manifest <file>", "the election's manifest; the published one unless given")
    .option("--log-key <key>", "a verifier key of the log, from somebody you trust", parseLogKey)
    .option("--policy <file>", "the witnesses whose clocks you believe (c2sp.org/tlog-policy)")
    .addHelpText("after", EXIT_STATUS)
    .action((file: string, _: unknown, command: Command) =>
      run(async (context) => {
        // Those that `verify` has, too, are taken by it.
        const options = command.optsWithGlobals<VerifyPromiseCommandOptions>();
        const promise = parsePromise(await readVoterFile(file, MAX_PROMISE_BYTES));
        const policy = await readPolicyFile(options.policy);
        const { electionId } = parseStatement(promise.statement);
        const source = httpSource(options.public ?? context.setting("public"), electionId);
        const manifest = await (options.manifest === undefined
          ? publishedManifest(source)
          : readManifestFile(options.manifest));
        // A promise names its manifest by its hash, so that whoever hands the manifest over need not be trusted.
        const verified = verifyPromise({ promise, manifest, manifestHash: manifestHash(manifest) });
        // Before the checkpoint is read: what comes into the log between the two is not late.
        const nowMicros = Date.now() * 1000;
        const opened = await publishedCheckpoint(source, manifest, options.logKey, policy);
        const { update, end } = bar(terminal, "reading the whole log", stopSignal());
        const fate = await judgePromise({
          promise: verified,
          opened,
          fetch: source,
          nowMicros,
          onProgress: update,
        });
        end();
        const { shard, sequence } = verified.entry;
        const vote = voteIdOf(shard, sequence, manifest.shards);
        const judged = { verified, vote, opened, fate };
        context.show(judgedJson(judged), () => describeJudged(judged).join("\n"));
        return EXIT_CODES[fate.fate];
      }),
    );
}

const EXIT_CODES = { kept: ExitCode.ok, "not-due": ExitCode.unavailable, broken: ExitCode.failed } as const;

async function publishedManifest(source: PublicSource): Promise<Manifest> {
  const bytes = await source("manifest.json");
  if (!bytes) throw new UnreachableError("no manifest of the promise's election is published there");
  try {
    return parseManifest(bytes);
  } catch (error) {
    throw new CheckFailedError(`what is published as the manifest is none: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function publishedCheckpoint(
  source: PublicSource,
  manifest: Manifest,
  logKey: string | undefined,
  policy: WitnessPolicy | undefined,
): Promise<OpenedCheckpoint> {
  const log = await readLogKeys(manifest, source, logKey);
  const note = await source("checkpoint");
  if (!note) throw new UnreachableError("the log has published no checkpoint");
  const witnesses = policy?.witnesses.map(({ verifier }) => verifier) ?? [];
  return openCheckpoint({ note, log, witnesses });
}

interface Judged {
  readonly verified: VerifiedPromise;
  readonly vote: VoteId;
  readonly opened: OpenedCheckpoint;
  readonly fate: PromiseFate;
}

function judgedJson({ verified, vote, opened, fate }: Judged): object {
  const { electionId, entry, issuedAt, dueAt } = verified;
  return {
    result: fate.fate,
    election_id: electionId,
    vote_id: vote,
    record_hash: toHex(entry.recordHash),
    issued_at: issuedAt,
    due_at: dueAt,
    log_size: opened.checkpoint.size,
    ...(fate.fate === "kept" ? { index: fate.index } : {}),
    ...(fate.fate === "broken" ? { breach: breachJson(fate.breach) } : {}),
  };
}

function breachJson(breach: Breach): object {
  switch (breach.kind) {
    case "other-record":
      return {
        kind: breach.kind,
        index: breach.found.index,
        record_hash: toHex(breach.found.entry.recordHash),
      };
    case "witnessed":
      return { kind: breach.kind, witness: breach.witness, timestamp: breach.atSeconds };
    default:
      return { kind: breach.kind };
  }
}

function describeJudged({ verified, vote, opened, fate }: Judged): string[] {
  const { electionId, entry, issuedAt, dueAt } = verified;
  const { checkpoint, cosignatures } = opened;
  const witnesses = cosignatures.map(({ verifier }) => `, cosigned by ${verifier.name}`).join("");
  return [
    `checked: at ${formatTime(issuedAt)} the vote ${vote} of ${electionId} was promised to be in the log by ${formatTime(dueAt)}`,
    `checked: its record hash is ${toHex(entry.recordHash)}`,
    `checked: ${checkpoint.origin} signed a log of ${formatCount(checkpoint.size)} entries${witnesses}`,
    `result: ${describeFate(fate, verified)}`,
  ];
}

function describeFate(fate: PromiseFate, { dueAt }: VerifiedPromise): string {
  switch (fate.fate) {
    case "kept":
      return `kept: the log has the vote at index ${fate.index}`;
    case "not-due":
      return `not yet due: the log is without the vote, and has until ${formatTime(dueAt)}`;
    case "broken":
      return `BROKEN: ${describeBreach(fate.breach)}`;
  }
}

function describeBreach(breach: Breach): string {
  switch (breach.kind) {
    case "other-record":
      return `the log has another record in the vote's place, at index ${breach.found.index}: ${toHex(breach.found.entry.recordHash)}`;
    case "closed":
      return "the log is closed, and without the vote";
    case "witnessed":
      return `the log was without the vote when ${breach.witness} cosigned it, at ${formatTime(breach.atSeconds * 1_000_000)}`;
    case "own-clock":
      // A mirror or a cache may show an old checkpoint of an honest log.
      return "by this machine's clock it is due, and the log as it is shown here is without the vote; a witness's clock would prove it to others";
  }
}

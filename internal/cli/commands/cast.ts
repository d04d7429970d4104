import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import type { CastVoteResponse } from "../../../gen/ts/psephos/vote/v1/vote_pb.js";
import { type Manifest, manifestHash, parseManifest } from "../../ballot/manifest.ts";
import { equalBytes, toHex } from "../../core/bytes.ts";
import { messageOf } from "../../core/errors.ts";
import { type ElectionId, voteIdOf } from "../../core/ids.ts";
import { parsePromise, promiseFile, verifyPromise } from "../../receipt/promise.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { CheckFailedError, UnreachableError, UsageError } from "../exit-code.ts";
import { formatTable, formatTime } from "../terminal.ts";

interface CastOptions {
  readonly voter: string;
  readonly candidate: string;
  readonly request?: string;
  readonly election?: string;
  readonly promiseOut?: string;
}

export function castCommand(program: Command, { run, terminal }: Cli): void {
  program
    .command("cast")
    .description("cast one vote (clients)")
    .requiredOption("--voter <id>", "who votes")
    .requiredOption("--candidate <id>", "the choice's id")
    .option("--request <id>", "makes a retry safe; random unless given")
    .option("--election <id>", "the profile's unless given")
    .option(
      "--promise-out <file>",
      "keep the promise that the vote will be in the log, verified, as a .promise file",
    )
    .action((options: CastOptions) =>
      run(async (context) => {
        const electionId = context.election(options.election);
        const { promiseOut, request = randomUUID() } = options;
        // Before the vote, which cannot be taken back.
        const manifest =
          promiseOut === undefined ? undefined : await manifestWithPromises(context, electionId);
        const answer = await castVote(context, electionId, { ...options, request });
        const vote = voteJson(answer, request);
        const code = context.show(vote, () =>
          formatTable(Object.entries(vote).map(([key, value]) => [key.replaceAll("_", " "), String(value)])),
        );
        if (promiseOut === undefined || !manifest) return code;
        const { file, issuedAt } = verifiedPromise(answer, manifest);
        await writePromise(promiseOut, file);
        terminal.say(`wrote ${promiseOut}`);
        requireRunning(issuedAt, Date.now() * 1000);
        return code;
      }),
    );
}

async function manifestWithPromises(context: CliContext, electionId: ElectionId): Promise<Manifest> {
  const { election } = await context.elections("client").getElection({ electionId });
  if (!election) throw new Error("the service answered without an election");
  const manifest = parseManifest(election.manifest);
  if (manifest.promises) return manifest;
  throw new UsageError(`the election ${electionId} makes no promises: leave --promise-out out`);
}

/** Casts one vote; the answer means that it is kept. */
function castVote(
  context: CliContext,
  electionId: ElectionId,
  { voter, candidate, request }: CastOptions & { readonly request: string },
): Promise<CastVoteResponse> {
  return context.votes().castVote({
    electionId,
    voterId: voter,
    requestId: request,
    choice: { case: "candidateId", value: candidate },
  });
}

function voteJson({ voteId, revision, recordHash }: CastVoteResponse, request: string): object {
  return {
    vote_id: Number(voteId),
    status: "recorded",
    revision,
    record_hash: toHex(recordHash),
    request_id: request,
  };
}

/** The promise as a file and when it was signed, once it is known to be one, and of this vote. */
function verifiedPromise(
  { voteId, recordHash, promise }: CastVoteResponse,
  manifest: Manifest,
): { readonly file: string; readonly issuedAt: number } {
  if (!promise) throw new CheckFailedError("the vote is recorded, and not promised");
  const file = promiseFile(promise);
  const verified = { promise: parsePromise(file), manifest, manifestHash: manifestHash(manifest) };
  const { entry, issuedAt } = verifyPromise(verified);
  const isThisVote =
    voteIdOf(entry.shard, entry.sequence, manifest.shards) === Number(voteId) &&
    equalBytes(entry.recordHash, recordHash);
  if (isThisVote) return { file, issuedAt };
  throw new CheckFailedError("the vote is recorded, and what is promised is another one");
}

/** Two honest clocks may differ by as much. */
const MAX_CLOCK_DIFFERENCE_MICROS = 5 * 60 * 1_000_000;

/**
 * A promise that is dated later runs from then on, and can be broken for so much longer before anybody could prove it. Only
 * whoever is there when it is made can tell.
 */
export function requireRunning(issuedAt: number, nowMicros: number): void {
  if (issuedAt <= nowMicros + MAX_CLOCK_DIFFERENCE_MICROS) return;
  throw new CheckFailedError(
    `the vote is recorded, and the promise runs from ${formatTime(issuedAt)} on, which by this machine's clock is still to come`,
  );
}

async function writePromise(path: string, file: string): Promise<void> {
  await writeFile(path, file).catch((error) => {
    throw new UnreachableError(
      `the vote is recorded, but ${path} cannot be written: ${messageOf(error)}; cast again with the same --request, ` +
        "it is promised again",
      { cause: error },
    );
  });
}

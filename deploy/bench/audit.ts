// How fast `psephos audit --full` is, as it hashes, against the same machine's `openssl speed sha256`: an audit cannot be
// faster than its hashes. Beside it what Node's own hash makes of the same bytes with nothing else to do.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { runAudit, WHOLE_LOG } from "../../internal/cli/audit/run-audit.ts";
import { SegmentPool } from "../../internal/cli/audit/segment-pool.ts";
import { electionId } from "../../internal/core/ids.ts";
import { HASH_SIZE, sha256Into } from "../../internal/core/sha256.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { writeEvidence } from "./evidence.ts";
import { median, seconds } from "./measure.ts";
import { rounded, type Section, say } from "./section.ts";

const ID = electionId("audit");
const VOTES = 500_000;
const ROUNDS = 5;

/** What is hashed for a vote besides the segment that it is in: docs/spec.md, "Record", "Log entry", "Tree". */
const RECORD_BYTES = 169;
const LEAF_BYTES = 44;
const NODE_BYTES = 65;
const VOTE_BYTES = RECORD_BYTES + LEAF_BYTES + NODE_BYTES;

interface Round {
  readonly votesPerSecond: number;
  /** Of hashed bytes. */
  readonly bytesPerSecond: number;
  /** Of all threads, a vote. */
  readonly cpuMicros: number;
  readonly opensslBytesPerSecond: number;
  readonly ratio: number;
}

interface HashRound {
  readonly openssl: number;
  readonly node: number;
  readonly noble: number;
}

interface AuditResult {
  readonly votes: number;
  /** By how many threads check segments. */
  readonly audits: ReadonlyMap<number, readonly Round[]>;
  /** Votes' hashes a second, on one core. */
  readonly hashes: readonly HashRound[];
}

export const audit: Section = {
  name: "audit",
  heading: "Audit",
  async measure() {
    const result = await measureAudit(VOTES);
    return { markdown: report(result), json: { ...result, audits: Object.fromEntries(result.audits) } };
  },
};

async function measureAudit(votes: number): Promise<AuditResult> {
  await using temporary = await TemporaryFolder.create();
  const folder = temporary.path;
  const directory = join(folder, "evidence");
  say(`evidence of ${votes} votes`);
  await writeEvidence(new DirectoryStore({ directory }), ID, votes);

  const audits = new Map<number, Round[]>([1, availableParallelism()].map((threads) => [threads, []]));
  const hashes: HashRound[] = [];
  // The first is not counted: caches fill.
  await auditOnce(directory, join(folder, "state"), 1);
  for (let round = 1; round <= ROUNDS; round++) {
    say(`round ${round} of ${ROUNDS}`);
    for (const [threads, rounds] of audits) {
      const opensslBytesPerSecond = await opensslSpeed(RECORD_BYTES, threads);
      const audited = await auditOnce(directory, join(folder, "state"), threads);
      rounds.push({
        ...audited,
        opensslBytesPerSecond,
        ratio: audited.bytesPerSecond / opensslBytesPerSecond,
      });
    }
    hashes.push(await hashRound());
  }
  return { votes, audits, hashes };
}

/** From the start of the threads to the end of the report. */
async function auditOnce(directory: string, stateFolder: string, workers: number) {
  const evidence = { directory, retention_days: 1, layout: "segments" } as const;
  const cpu = process.cpuUsage();
  const started = performance.now();
  await using checker = new SegmentPool({ workers, evidence, lock: undefined, eventKey: undefined });
  const { report } = await runAudit({
    electionId: ID,
    place: directory,
    store: new DirectoryStore({ directory }),
    lock: undefined,
    checker,
    range: WHOLE_LOG,
    source: undefined,
    logKey: undefined,
    eventKey: undefined,
    stateFolder,
    resume: false,
    onProgress: () => {},
  });
  const elapsed = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const { records, bytes } = report.checked;
  if (records !== VOTES || report.problems.length > 0) throw new Error("the evidence did not verify");
  return {
    votesPerSecond: records / elapsed,
    bytesPerSecond: (records * VOTE_BYTES + bytes) / elapsed,
    cpuMicros: (user + system) / records,
  };
}

/** Bytes a second of all processes together, by the clock on the wall. */
async function opensslSpeed(size: number, processes: number): Promise<number> {
  const options = ["-elapsed", "-seconds", "1", "-bytes", String(size), "-multi", String(processes)];
  const { stdout } = await promisify(execFile)("openssl", ["speed", ...options, "sha256"]);
  const kilobytes = /^sha256\s+([\d.]+)k$/m.exec(stdout)?.[1];
  if (kilobytes === undefined) throw new Error("openssl speed did not say how fast it is");
  return Number(kilobytes) * 1000;
}

async function hashRound(): Promise<HashRound> {
  let micros = 0;
  for (const size of [RECORD_BYTES, LEAF_BYTES, NODE_BYTES])
    micros += (1e6 * size) / (await opensslSpeed(size, 1));
  const out = new Uint8Array(HASH_SIZE);
  return {
    openssl: 1e6 / micros,
    node: await votesHashed(200_000, (bytes) => sha256Into(out, 0, bytes)),
    noble: await votesHashed(20_000, (bytes) => nobleSha256(bytes)),
  };
}

async function votesHashed(votes: number, hash: (bytes: Uint8Array) => void): Promise<number> {
  const preimages = [RECORD_BYTES, LEAF_BYTES, NODE_BYTES].map((size) => new Uint8Array(randomBytes(size)));
  const took = await seconds(() => {
    for (let vote = 0; vote < votes; vote++) for (const bytes of preimages) hash(bytes);
  });
  return votes / took;
}

function report({ votes, audits, hashes }: AuditResult): string {
  const openssl = medianOf(hashes, (round) => round.openssl);
  return `\`psephos audit --full\` of ${votes.toLocaleString("en-US")} votes in a directory, from the start of its threads to its report, against
\`openssl speed sha256\` at the size of a record (${RECORD_BYTES} bytes) on as many processes, in turns; medians of ${ROUNDS} rounds. Hashed are
each vote's record, leaf and tree node (${VOTE_BYTES} bytes) and the objects they are read from. One more thread joins what the
others checked.

| threads | hashed bytes ÷ openssl's | lowest – highest | votes/s | hashed MB/s | CPU a vote |
|---|---|---|---|---|---|
${[...audits].map(([threads, rounds]) => auditRow(threads, rounds)).join("\n")}

Where the limit is: the three hashes of a vote, one after another on one core, with nothing else done.

| who hashes | ÷ openssl | lowest – highest | votes/s |
|---|---|---|---|
| \`openssl speed\`, at the three sizes | 1 | | ${rounded(openssl)} |
| Node's one-shot hash, as the audit calls it | ${hashCells(hashes, (round) => round.node)} |
| noble, which is JavaScript | ${hashCells(hashes, (round) => round.noble)} |

Node asks OpenSSL for every hash anew, and for 44 to 169 bytes the asking takes longer than the hashing: an audit that did
nothing but hash would get no further than the second row. What lies between that and the audit is reading the evidence:
files, zstd, a line a vote, chains, voters.`;
}

function auditRow(threads: number, rounds: readonly Round[]): string {
  const ratios = rounds.map(({ ratio }) => ratio);
  const votes = medianOf(rounds, (round) => round.votesPerSecond);
  const megabytes = medianOf(rounds, (round) => round.bytesPerSecond / 1e6);
  const micros = medianOf(rounds, (round) => round.cpuMicros);
  return `| ${threads} | **${median(ratios).toFixed(2)}** | ${spread(ratios)} | ${rounded(votes)} | ${rounded(megabytes)} | ${micros.toFixed(1)} µs |`;
}

function hashCells(hashes: readonly HashRound[], of: (round: HashRound) => number): string {
  const ratios = hashes.map((round) => of(round) / round.openssl);
  return `${median(ratios).toFixed(2)} | ${spread(ratios)} | ${rounded(medianOf(hashes, of))}`;
}

function spread(values: readonly number[]): string {
  return `${Math.min(...values).toFixed(2)} – ${Math.max(...values).toFixed(2)}`;
}

function medianOf<T>(rounds: readonly T[], of: (round: T) => number): number {
  return median(rounds.map(of));
}

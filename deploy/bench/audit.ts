// How fast `psephos audit --full` is, as it hashes, against the same machine's `openssl speed sha256`: an audit cannot be
// faster than its hashes. Beside it what Node's own hash makes of the same bytes with little else to do.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { zstdDecompressSync } from "node:zlib";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { runAudit, WHOLE_LOG } from "../../internal/cli/audit/run-audit.ts";
import { SegmentPool } from "../../internal/cli/audit/segment-pool.ts";
import { electionId } from "../../internal/core/ids.ts";
import { HASH_SIZE, sha256Into } from "../../internal/core/sha256.ts";
import { SEGMENT_ENTRIES, segmentKey } from "../../internal/evidence/layout.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { writeEvidence } from "./evidence.ts";
import { median, seconds } from "./measure.ts";
import { rounded, type Section, say } from "./section.ts";

const ID = electionId("audit");
const VOTES = 1_000_000;
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

/** Hashed bytes a second on one core, by who does nothing but that. */
interface HashRound {
  readonly openssl: number;
  readonly node: number;
  /** And unpacks the segments. */
  readonly unpacking: number;
  readonly noble: number;
}

interface AuditResult {
  readonly votes: number;
  /** By how many threads check segments. */
  readonly audits: ReadonlyMap<number, readonly Round[]>;
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
  const store = new DirectoryStore({ directory });
  await writeEvidence(store, ID, votes);
  const segment = await store.get(segmentKey(ID, SEGMENT_ENTRIES, 2 * SEGMENT_ENTRIES - 1));
  if (!segment) throw new Error("the second segment is not there");

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
    hashes.push(await hashRound(segment));
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

async function hashRound(segment: Uint8Array): Promise<HashRound> {
  const out = new Uint8Array(HASH_SIZE);
  const node = (bytes: Uint8Array) => sha256Into(out, 0, bytes);
  return {
    openssl: await opensslSpeed(RECORD_BYTES, 1),
    node: await hashSegments(200, segment, node),
    unpacking: await hashSegments(200, segment, node, () => zstdDecompressSync(segment)),
    noble: await hashSegments(10, segment, nobleSha256),
  };
}

/** What is hashed for a full segment, so many times. */
async function hashSegments(
  times: number,
  segment: Uint8Array,
  hash: (bytes: Uint8Array) => void,
  beside = () => {},
): Promise<number> {
  const preimages = [RECORD_BYTES, LEAF_BYTES, NODE_BYTES].map((size) => new Uint8Array(randomBytes(size)));
  const took = await seconds(() => {
    for (let time = 0; time < times; time++) {
      hash(segment);
      beside();
      for (let vote = 0; vote < SEGMENT_ENTRIES; vote++) for (const bytes of preimages) hash(bytes);
    }
  });
  return (times * (segment.length + SEGMENT_ENTRIES * VOTE_BYTES)) / took;
}

function report({ votes, audits, hashes }: AuditResult): string {
  return `\`psephos audit --full\` of ${votes.toLocaleString("en-US")} votes in a directory, from the start of its threads to its report, against
\`openssl speed sha256\` at the size of a record (${RECORD_BYTES} bytes) on as many processes, in turns; medians of ${ROUNDS} rounds. Hashed are
each vote's record, leaf and tree node (${VOTE_BYTES} bytes) and the segments they are read from. One more thread joins what the
others checked.

| threads | hashed bytes ÷ openssl's | lowest – highest | votes/s | hashed MB/s | CPU a vote |
|---|---|---|---|---|---|
${[...audits].map(([threads, rounds]) => auditRow(threads, rounds)).join("\n")}

Where the limit is: the same bytes hashed on one core, with little or nothing else done, against one \`openssl speed\`.

| what is done | hashed bytes ÷ openssl's | lowest – highest | hashed MB/s |
|---|---|---|---|
${hashRow("Node's one-shot hash, as the audit calls it", hashes, (round) => round.node)}
${hashRow("the same, and zstd unpacks the segments", hashes, (round) => round.unpacking)}
${hashRow("noble, which is JavaScript, in place of Node's", hashes, (round) => round.noble)}

For inputs this short, calling OpenSSL from Node takes longer than hashing: no audit in Node that hashes one input a call,
however it reads its evidence, gets beyond the second row. What is between that row and the audit is the rest of the work:
files, a line a vote, chains, the tree, voters.`;
}

function auditRow(threads: number, rounds: readonly Round[]): string {
  const ratios = rounds.map(({ ratio }) => ratio);
  const votes = medianOf(rounds, (round) => round.votesPerSecond);
  const megabytes = medianOf(rounds, (round) => round.bytesPerSecond / 1e6);
  const micros = medianOf(rounds, (round) => round.cpuMicros);
  return `| ${threads} | **${median(ratios).toFixed(2)}** | ${spread(ratios)} | ${rounded(votes)} | ${rounded(megabytes)} | ${micros.toFixed(1)} µs |`;
}

function hashRow(what: string, hashes: readonly HashRound[], of: (round: HashRound) => number): string {
  const ratios = hashes.map((round) => of(round) / round.openssl);
  const megabytes = medianOf(hashes, (round) => of(round) / 1e6);
  return `| ${what} | ${median(ratios).toFixed(2)} | ${spread(ratios)} | ${rounded(megabytes)} |`;
}

function spread(values: readonly number[]): string {
  return `${Math.min(...values).toFixed(2)} – ${Math.max(...values).toFixed(2)}`;
}

function medianOf<T>(rounds: readonly T[], of: (round: T) => number): number {
  return median(rounds.map(of));
}

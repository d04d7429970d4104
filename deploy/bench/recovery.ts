// How long `psephos restore` takes: evidence of so many votes, as AuditService writes it, into empty databases. Beside it, in
// the same run, what Postgres takes for the same rows when nothing is read or verified: the least that any recovery takes.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { appendVotes, type ChainHead, genesisHeads } from "../../internal/ballot/chain.ts";
import { closingEntry, encodeEntry } from "../../internal/ballot/entry.ts";
import { encodeManifest, type Manifest } from "../../internal/ballot/manifest.ts";
import type { VoteRecord } from "../../internal/ballot/record.ts";
import { generateTallyKeyPair } from "../../internal/ballot/tally-key.ts";
import { shardOf } from "../../internal/ballot/voter-key.ts";
import { utf8 } from "../../internal/core/bytes.ts";
import { systemClock } from "../../internal/core/clock.ts";
import { electionId, shardId, treeSize, voteIdOf } from "../../internal/core/ids.ts";
import { sha256 } from "../../internal/core/sha256.ts";
import {
  BLOCK_ENTRIES,
  checkpointKey,
  manifestKey,
  SEGMENT_ENTRIES,
} from "../../internal/evidence/layout.ts";
import { encodeSegment, keyOfSegment, logEntryOf, type Segment } from "../../internal/evidence/segment.ts";
import type { SegmentEntry } from "../../internal/evidence/segment-line.ts";
import { encodeVoteCheckpoint, type VoteCheckpoint } from "../../internal/evidence/vote-checkpoint.ts";
import { PostgresRestoreInstance } from "../../internal/postgres/restore-instance.ts";
import { restore } from "../../internal/restore/restore.ts";
import { createLogger } from "../../internal/telemetry/logger.ts";
import { formatCheckpoint } from "../../internal/tlog/checkpoint.ts";
import { GrowingTree } from "../../internal/tlog/growing-tree.ts";
import { NoteSigner, signNote } from "../../internal/tlog/note.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import type { StoredObject } from "../../internal/worm/object-store.ts";
import { DevelopmentCa } from "../local/dev-ca.ts";
import { PortBook } from "../local/ports.ts";
import { LocalPostgres } from "../local/postgres.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { rounded, type Section, say } from "./section.ts";

interface RecoveryResult {
  readonly votes: number;
  readonly verifySeconds: number;
  readonly loadSeconds: number;
  /** For the rows alone. */
  readonly rowSeconds: number;
  /** Of this process, for the recovery. */
  readonly cpuSeconds: number;
  /** Of evidence, on disk. */
  readonly evidenceBytes: number;
}

const ID = electionId("recovery");
const SHARDS = 16;
const INSTANCES = 2;
const VOTES = 1_000_000;

export const recovery: Section = {
  name: "recovery",
  heading: "Recovery",
  async measure() {
    const result = await measureRecovery(VOTES);
    return { markdown: report(result), json: result };
  },
};

function report(result: RecoveryResult): string {
  const { votes, verifySeconds, loadSeconds, rowSeconds, cpuSeconds, evidenceBytes } = result;
  const seconds = verifySeconds + loadSeconds;
  return `\`psephos restore\` of an election of ${votes.toLocaleString("en-US")} votes (${SHARDS} shards, ${(evidenceBytes / votes).toFixed(0)} bytes a vote of
evidence in a directory) into ${INSTANCES} empty Postgres instances on the same machine. Beside it, in the same run, what the
instances take for as many rows alone, with nothing read or verified and with their indexes in place.

| what | seconds | votes/s |
|---|---|---|
| the whole recovery | ${seconds.toFixed(0)} | ${rounded(votes / seconds)} |
| of it: reading and verifying all of the evidence | ${verifySeconds.toFixed(0)} | ${rounded(votes / verifySeconds)} |
| of it: reading it again; records, indexes, tiles, heads | ${loadSeconds.toFixed(0)} | ${rounded(votes / loadSeconds)} |
| the rows alone | ${rowSeconds.toFixed(0)} | ${rounded(votes / rowSeconds)} |

The whole recovery takes **${(seconds / rowSeconds).toFixed(1)}** times as long as its rows alone; the command itself uses ${cpuSeconds.toFixed(0)} s of one core.`;
}

async function measureRecovery(votes: number): Promise<RecoveryResult> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await TemporaryFolder.create()).path;

  say(`evidence of ${votes} votes`);
  const evidence = new DirectoryStore({ directory: join(folder, "evidence") });
  const { checkpoint, bytes } = await writeEvidence(evidence, votes);

  say("recovery");
  const ports = resources.use(await PortBook.open(join(folder, "ports.json")));
  const ca = await DevelopmentCa.open(join(folder, "tls"));
  const instances = new Map<string, PostgresRestoreInstance>();
  for (let index = 0; index < INSTANCES; index++) {
    const name = `pg${index}`;
    const port = await ports.port(name);
    const server = resources.use(new LocalPostgres({ name, folder: join(folder, name), port, ca }));
    await server.start();
    const { user: _, ...connection } = await server.connection("psephos_owner");
    const logger = createLogger({ service: "bench", level: "silent" });
    instances.set(
      name,
      resources.use(new PostgresRestoreInstance({ connection: { name, ...connection }, logger })),
    );
  }
  const cpu = process.cpuUsage();
  const result = await restore({
    elections: [
      { electionId: ID, checkpoints: [{ name: "the checkpoint", note: checkpoint }], logKey: undefined },
    ],
    evidence,
    tiles: new DirectoryStore({ directory: join(folder, "tiles") }),
    instances,
    publisher: undefined,
    place: (shards) => Array.from({ length: shards }, (_, shard) => `pg${shard % INSTANCES}`),
    clock: systemClock,
    signal: new AbortController().signal,
    progress: { verified: () => {}, loaded: () => {}, indexing: () => {}, leftShut: () => {} },
    confirm: async () => true,
  });
  if (result?.elections[0]?.written !== votes) throw new Error("not all votes were written");

  const { user, system } = process.cpuUsage(cpu);

  say("the rows alone");
  const rowSeconds = await loadRows([...instances.values()], votes);
  const { verifySeconds, loadSeconds } = result;
  const cpuSeconds = (user + system) / 1e6;
  return { votes, verifySeconds, loadSeconds, rowSeconds, cpuSeconds, evidenceBytes: bytes };
}

/** Rows of another election, made as they are sent, each instance with two statements at work. */
async function loadRows(instances: readonly PostgresRestoreInstance[], votes: number): Promise<number> {
  const BATCH = 2_000;
  const bytes = randomBytes(BATCH * 127);
  const started = performance.now();
  await Promise.all(
    instances.flatMap((instance, index) =>
      Array.from({ length: instance.lanes }, async (_, lane) => {
        const shard = shardId(index * instance.lanes + lane);
        const rows = votes / (instances.length * instance.lanes);
        for (let first = 1; first <= rows; first += BATCH) {
          const records = Array.from({ length: Math.min(BATCH, rows - first + 1) }, (_, i) =>
            randomRecord(shard, first + i, bytes.subarray(i * 127, (i + 1) * 127)),
          );
          await instance.insert(2, records);
        }
      }),
    ),
  );
  return (performance.now() - started) / 1000;
}

function randomRecord(shard: VoteRecord["shard"], sequence: number, bytes: Uint8Array): VoteRecord {
  return {
    shard,
    sequence: sequence as VoteRecord["sequence"], // It counts from 1.
    voterPseudonym: sha256(utf8(`${shard} ${sequence}`)),
    revision: 1,
    sealedChoice: bytes.subarray(32, 95),
    castAt: 1_780_000_000_000_000,
    hash: sha256(bytes.subarray(95, 127)),
  };
}

/** A closed election's evidence, in full segments and blocks. Answers the public checkpoint. */
async function writeEvidence(store: DirectoryStore, votes: number) {
  const signer = NoteSigner.fromSeed(`bench.psephos.local/${ID}`, new Uint8Array(randomBytes(32)));
  const manifest: Manifest = {
    electionId: ID,
    title: "A million votes",
    choices: [{ id: "ada", name: "Ada" }],
    shards: SHARDS,
    revoting: "forbidden",
    opensAt: Date.now() * 1000,
    closesAt: null,
    tallyKey: generateTallyKeyPair().publicKey,
    trustees: { shares: 3, threshold: 2 },
    logKey: signer.verifierKey,
  };
  const manifestBytes = encodeManifest(manifest);
  await store.put(manifestKey(ID), manifestBytes);
  const writer = new EvidenceWriter(store, signer, sha256(manifestBytes));
  await writer.add({ type: "manifest", manifestHash: sha256(manifestBytes) });
  for (let vote = 0; vote < votes; vote++) await writer.addVote();
  await writer.add(closingEntry(writer.heads));
  return { checkpoint: utf8(await writer.close()), bytes: writer.bytes };
}

class EvidenceWriter {
  readonly heads: ChainHead[];
  bytes = 0;
  readonly #store: DirectoryStore;
  readonly #signer: NoteSigner;
  readonly #manifestHash: Segment["manifestHash"];
  readonly #tree = GrowingTree.empty();
  #segment: Omit<Segment, "entries" | "rootAfter"> & { readonly entries: SegmentEntry[] };
  #stored: StoredObject[] = [];
  #lastVote: VoteCheckpoint["lastVote"] = null;

  constructor(store: DirectoryStore, signer: NoteSigner, manifestHash: Segment["manifestHash"]) {
    this.#store = store;
    this.#signer = signer;
    this.#manifestHash = manifestHash;
    this.heads = genesisHeads(manifestHash, SHARDS);
    this.#segment = this.#open();
  }

  async addVote(): Promise<void> {
    const random = new Uint8Array(randomBytes(95));
    const voterPseudonym = random.subarray(0, 32);
    const shard = shardOf(voterPseudonym, SHARDS);
    const head = this.heads[shard];
    if (!head) throw new RangeError("a shard too many");
    const vote = { voterPseudonym, revision: 1, sealedChoice: random.subarray(32) };
    const { records, head: next } = appendVotes(head, [vote], {
      shards: SHARDS,
      nowMicros: Date.now() * 1000,
    });
    this.heads[shard] = next;
    this.#lastVote = { id: voteIdOf(shard, next.sequence, SHARDS), hash: next.hash };
    for (const record of records) await this.add({ type: "vote", record });
  }

  async add(entry: SegmentEntry): Promise<void> {
    this.#segment.entries.push(entry);
    this.#tree.append(encodeEntry(logEntryOf(entry)));
    if (this.#segment.entries.length < SEGMENT_ENTRIES) return;
    await this.#flush();
    if (this.#tree.size % BLOCK_ENTRIES === 0) await this.#endBlock();
  }

  /** Answers the note of the last block. */
  async close(): Promise<string> {
    await this.#flush();
    return this.#endBlock();
  }

  async #flush(): Promise<void> {
    if (this.#segment.entries.length === 0) return;
    const segment: Segment = { ...this.#segment, rootAfter: this.#tree.root() };
    const body = encodeSegment(segment);
    this.#stored.push(await this.#store.put(keyOfSegment(segment), body));
    this.bytes += body.length;
    this.#tree.takeTiles();
    this.#segment = this.#open();
  }

  #open(): Omit<Segment, "entries" | "rootAfter"> & { readonly entries: SegmentEntry[] } {
    const shardHeads = this.heads.map(({ sequence, hash }) => ({ sequence, hash }));
    const common = { electionId: ID, manifestHash: this.#manifestHash, shardHeads };
    return { ...common, firstIndex: this.#tree.size, rootBefore: this.#tree.root(), entries: [] };
  }

  async #endBlock(): Promise<string> {
    const { size } = this.#tree;
    const root = this.#tree.root();
    const number = Math.ceil(size / BLOCK_ENTRIES);
    const note = signNote(formatCheckpoint({ origin: this.#signer.name, size, root }), [this.#signer]);
    const checkpoint: VoteCheckpoint = {
      electionId: ID,
      number,
      treeSize: treeSize(size),
      treeRoot: root,
      segments: this.#stored.splice(0),
      lastVote: this.#lastVote,
      shardHeads: this.heads.map(({ sequence, hash }) => ({ sequence, hash })),
      note,
    };
    if (checkpoint.segments.length > 0)
      await this.#store.put(checkpointKey(ID, number), encodeVoteCheckpoint(checkpoint));
    return note;
  }
}

// For tests: an election whose shards are in memory and whose log is in real directories.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { appendVotes, type ChainHead, genesisHeads } from "../ballot/chain.ts";
import { encodeManifest, type Manifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { type ElectionId, electionId, treeSize } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { EvidenceLayout } from "../evidence/layout.ts";
import { createLogger } from "../telemetry/logger.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { NoteSigner } from "../tlog/note.ts";
import { DirectoryStore } from "../worm/directory-store.ts";
import { FaultyStore } from "../worm/faulty-store.ts";
import type { AuditedElection, ElectionLog } from "./election-log.ts";
import { EvidenceReplay, sameHeads } from "./evidence-replay.ts";
import type { HeadStore, Lease, LogHead } from "./head.ts";
import { sameHead } from "./head.ts";
import { openLog } from "./open-log.ts";
import { blockEnds, segmentsTo } from "./stored-segments.ts";

export const silentLogger = createLogger({ service: "test", level: "silent" });

/** Retries at once: these tests inject faults, not time. */
export const hastyClock = { ...systemClock, sleep: (ms: number) => systemClock.sleep(Math.min(ms, 1)) };

export function testElection(
  options: { readonly id?: string; readonly shards?: number } = {},
): AuditedElection {
  const id = electionId(options.id ?? "test");
  const manifest: Manifest = {
    electionId: id,
    title: "A test",
    choices: [
      { id: "a", name: "A" },
      { id: "b", name: "B" },
    ],
    shards: options.shards ?? 4,
    revoting: "forbidden",
    opensAt: 0,
    closesAt: null,
    tallyKey: new Uint8Array(32).fill(9),
    trustees: { shares: 3, threshold: 2 },
    logKey: NoteSigner.fromSeed(`psephos.test/${id}`, new Uint8Array(32).fill(1)).verifierKey,
  };
  const manifestBytes = encodeManifest(manifest);
  return { electionId: id, manifest, manifestBytes, manifestHash: sha256(manifestBytes) };
}

/** The chains of an election's shards, as ShardRouter would make them. */
export class TestShards {
  readonly records: VoteRecord[][];
  #heads: ChainHead[];

  constructor(election: AuditedElection) {
    this.#heads = genesisHeads(election.manifestHash, election.manifest.shards);
    this.records = this.#heads.map(() => []);
  }

  get heads(): readonly ChainHead[] {
    return this.#heads;
  }

  /** Goes on from other chains' ends. */
  continueFrom(heads: readonly ChainHead[]): void {
    this.#heads = [...heads];
  }

  /** Casts votes of random voters; answers the new runs, in order of shard. */
  cast(votes: number): VoteRecord[][] {
    const shards = this.#heads.length;
    const voters = Array.from({ length: votes }, () => new Uint8Array(randomBytes(32)));
    const runs: VoteRecord[][] = [];
    this.#heads = this.#heads.map((head) => {
      const mine = voters.filter((voter) => shardOf(voter, shards) === head.shard);
      const { records, head: next } = appendVotes(
        head,
        mine.map((voterPseudonym) => ({
          voterPseudonym,
          revision: 1,
          sealedChoice: new Uint8Array(randomBytes(63)),
        })),
        { shards, nowMicros: Date.now() * 1000 },
      );
      this.records[head.shard]?.push(...records);
      if (records.length > 0) runs.push(records);
      return next;
    });
    return runs;
  }
}

/** A head store that can fail as Postgres can: before the write, or after it with the answer lost. */
export class MemoryHeads implements HeadStore {
  readonly heads = new Map<ElectionId, LogHead>();
  lost = new AbortController();
  fault: (operation: "load" | "create" | "swap") => "before" | "after" | undefined = () => undefined;

  async load(id: ElectionId): Promise<LogHead | undefined> {
    return this.#run("load", () => this.heads.get(id));
  }

  async create(head: LogHead): Promise<boolean> {
    return this.#run("create", () => {
      if (this.heads.has(head.electionId)) return false;
      this.heads.set(head.electionId, head);
      return true;
    });
  }

  async compareAndSwap(old: LogHead, next: LogHead): Promise<boolean> {
    return this.#run("swap", () => {
      const stored = this.heads.get(old.electionId);
      if (!stored || !sameHead(stored, old)) return false;
      this.heads.set(next.electionId, next);
      return true;
    });
  }

  async tryLock(): Promise<Lease | undefined> {
    if (this.lost.signal.aborted) return undefined;
    return { lost: this.lost.signal, [Symbol.asyncDispose]: async () => {} };
  }

  /** Leases can be had again. */
  renew(): void {
    this.lost = new AbortController();
  }

  async #run<T>(operation: "load" | "create" | "swap", call: () => T): Promise<T> {
    const fault = this.fault(operation);
    if (fault === "before") throw new Error("injected: not done");
    const answer = call();
    if (fault === "after") throw new Error("injected: done, but the answer is lost");
    return answer;
  }
}

/** An election's stores in a temporary folder, gone at the end of the test. */
export class AuditFixture implements AsyncDisposable {
  readonly election: AuditedElection;
  readonly shards: TestShards;
  readonly heads = new MemoryHeads();
  readonly evidence: FaultyStore;
  readonly tiles: FaultyStore;
  readonly directory: string;
  /** What still writes to the stores when a test ends, to be stopped before they go. */
  readonly running = new AsyncDisposableStack();
  /** Another one may be set between two openings. */
  layout: EvidenceLayout | undefined;

  static async create(
    options: { readonly shards?: number; readonly layout?: EvidenceLayout } = {},
  ): Promise<AuditFixture> {
    const directory = await mkdtemp(join(tmpdir(), "psephos-audit-"));
    return new AuditFixture(testElection(options), directory, options.layout);
  }

  private constructor(election: AuditedElection, directory: string, layout: EvidenceLayout | undefined) {
    this.layout = layout;
    this.election = election;
    this.directory = directory;
    this.shards = new TestShards(election);
    const open = (name: string) =>
      new FaultyStore({
        store: new DirectoryStore({ directory: join(directory, name) }),
        fault: () => undefined,
      });
    this.evidence = open("evidence");
    this.tiles = open("tiles");
  }

  get stores() {
    return { heads: this.heads, evidence: this.evidence, layout: this.layout, tiles: this.tiles };
  }

  open(signal: AbortSignal = new AbortController().signal): Promise<ElectionLog> {
    const { election, stores } = this;
    return openLog({ election, stores, clock: hastyClock, logger: silentLogger, signal });
  }

  noFaults(): void {
    this.heads.fault = () => undefined;
    this.evidence.fault = () => undefined;
    this.tiles.fault = () => undefined;
  }

  /** Everything again from the evidence alone: chains, tree, head row, and every tile byte for byte. */
  async verify(): Promise<LogHead> {
    const { election } = this;
    const replay = new EvidenceReplay({
      election,
      tree: GrowingTree.empty(),
      shardHeads: genesisHeads(election.manifestHash, election.manifest.shards),
    });
    const head = this.heads.heads.get(election.electionId);
    if (!head) throw new Error("no head");
    for (const end of await blockEnds(this.evidence, election.electionId, 1, head)) {
      for (const found of await segmentsTo(this.evidence, election.electionId, end)) replay.accept(found);
    }
    expect(replay.tree.size).toBe(head.treeSize);
    expect(toHex(replay.tree.root())).toBe(toHex(head.root));
    expect(sameHeads(replay.shardHeads, head.shardHeads)).toBe(true);
    for (const { path, bytes } of replay.tree.takeTiles()) {
      const stored = await this.tiles.get(`${election.electionId}/${path}`);
      expect(stored && equalBytes(stored, bytes), path).toBe(true);
    }
    await GrowingTree.load(
      treeSize(head.treeSize),
      (path) => this.tiles.get(`${election.electionId}/${path}`),
      head.root,
    );
    return head;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.evidence.release();
    this.tiles.release();
    await this.running.disposeAsync();
    await rm(this.directory, { recursive: true, force: true });
  }
}

// For tests: an election as AuditService sees it, which decides what the log is and may be honest or not.
import { closingEntry, encodeEntry } from "../ballot/entry.ts";
import { encodeManifest } from "../ballot/manifest.ts";
import { genesisHash } from "../ballot/record.ts";
import type { ShardHead } from "../ballot/shard-head.ts";
import { concat, u64, utf8 } from "../core/bytes.ts";
import { type ElectionId, electionId, sequence, shardId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { TileSource } from "./extend-log.ts";
import type { OfferedHead } from "./log-publisher.ts";
import { BLOCK_SIZE } from "./signed-head.ts";
import { SigningKey } from "./signing-key.ts";

export const TEST_KEY = new SigningKey(sha256(utf8("a signing key for tests")));
export const TEST_PREFIX = "psephos.test";
const SHARDS = 4;

export interface TestElectionOptions {
  readonly election?: ElectionId;
  readonly title?: string;
  readonly logKey?: string;
}

export class TestElection implements TileSource {
  readonly id: ElectionId;
  readonly manifest: Uint8Array;
  readonly manifestHash: Hash;
  readonly logKey: string;
  /** The tile store. */
  readonly objects = new Map<string, Uint8Array>();
  #tree = GrowingTree.empty();
  #votes = 0;
  /** Where each shard is. */
  #heads: ShardHead[] = [];
  #closed = false;

  constructor(options: TestElectionOptions = {}) {
    this.id = options.election ?? electionId("vermont-2020");
    this.logKey = options.logKey ?? TEST_KEY.signerFor(TEST_PREFIX, this.id).verifierKey;
    this.manifest = encodeManifest({
      electionId: this.id,
      title: options.title ?? "President",
      choices: [
        { id: "a", name: "A" },
        { id: "b", name: "B" },
      ],
      shards: SHARDS,
      revoting: "forbidden",
      opensAt: 0,
      closesAt: null,
      tallyKey: sha256(utf8("not a key that anything is sealed to")),
      trustees: { shares: 3, threshold: 2 },
      logKey: this.logKey,
    });
    this.manifestHash = sha256(this.manifest);
    this.#heads = Array.from({ length: SHARDS }, (_, shard) => ({
      sequence: sequence(0),
      hash: genesisHash(this.manifestHash, shardId(shard)),
    }));
  }

  get size(): number {
    return this.#tree.size;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.objects.get(key));
  }

  append(entry: Uint8Array): void {
    this.#tree.append(entry);
  }

  /** Appends up to a size. Another salt makes other votes. */
  grow(size: number, salt = ""): this {
    if (this.size === 0) this.append(encodeEntry({ type: "manifest", manifestHash: this.manifestHash }));
    while (this.size < size) {
      const vote = this.#votes++;
      const shard = shardId(vote % SHARDS);
      const head = {
        sequence: sequence(Math.floor(vote / SHARDS) + 1),
        hash: sha256(concat(utf8(salt), u64(vote))),
      };
      this.#heads[shard] = head;
      const entry = { type: "vote", shard, sequence: head.sequence, recordHash: head.hash } as const;
      this.append(encodeEntry(entry));
    }
    return this;
  }

  close(): this {
    this.append(encodeEntry(closingEntry(this.#heads)));
    this.#closed = true;
    return this;
  }

  /** Writes the tiles and offers the head. */
  head(): OfferedHead {
    for (const { path, bytes } of this.#tree.takeTiles()) this.objects.set(`${this.id}/${path}`, bytes);
    return {
      size: this.#tree.size,
      root: this.#tree.root(),
      manifest: this.manifest,
      endsBlock: this.#closed || this.size % BLOCK_SIZE === 0,
    };
  }

  /** Another history from here on, in a tile store of its own. */
  fork(): TestElection {
    const fork = new TestElection({ election: this.id, logKey: this.logKey });
    for (const [key, bytes] of this.objects) fork.objects.set(key, bytes);
    fork.#tree = this.#tree.clone();
    fork.#votes = this.#votes;
    fork.#heads = [...this.#heads];
    fork.#closed = this.#closed;
    return fork;
  }
}

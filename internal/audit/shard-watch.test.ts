import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  HeadsResponseSchema,
  ReadChainResponseSchema,
  RunSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { genesisHeads } from "../ballot/chain.ts";
import { ServiceError } from "../core/errors.ts";
import { shardId } from "../core/ids.ts";
import { hastyClock, silentLogger, TestShards, testElection } from "./audit-fixture.ts";
import { RecordBuffer } from "./record-buffer.ts";
import { type ShardRouter, ShardWatch } from "./shard-watch.ts";

const election = testElection({ shards: 2 });

/** Polls of a watch over two shards with records, until it is stopped. */
class WatchedShards {
  readonly shards = new TestShards(election);
  readonly buffer = new RecordBuffer({
    heads: genesisHeads(election.manifestHash, 2),
    capacity: 1_000,
  });
  /** What becomes of each poll in turn: which shards answer. The watch is stopped after the last one. */
  readonly #answers: (readonly number[] | "down")[];
  /** The tail of each shard after each poll. */
  readonly tails: (readonly [number, number])[] = [];
  readonly #stop = new AbortController();

  constructor(answers: (readonly number[] | "down")[]) {
    this.#answers = answers;
    this.shards.cast(40);
  }

  async run(): Promise<void> {
    const watch = new ShardWatch({
      electionId: election.electionId,
      shards: 2,
      router: this.#router as ShardRouter, // A watch calls these two methods.
      buffer: this.buffer,
      sealedHeads: () => genesisHeads(election.manifestHash, 2),
      onProgress: () => {},
      onFetched: () => {},
      pollIntervalMs: 1,
      clock: {
        ...hastyClock,
        sleep: async () => {
          this.tails.push([this.buffer.tail(shardId(0)), this.buffer.tail(shardId(1))]);
          if (this.#answers.length === 0) this.#stop.abort();
        },
      },
      logger: silentLogger,
      signal: this.#stop.signal,
    });
    await watch.run();
  }

  readonly #router: Pick<ShardRouter, "heads" | "readChain"> = {
    heads: async () => {
      const answering = this.#answers.shift() ?? [];
      if (answering === "down") throw new ServiceError("unavailable", "the router is down");
      const heads = this.shards.heads.filter(({ shard }) => answering.includes(shard));
      return create(HeadsResponseSchema, {
        heads: heads.map(({ shard, sequence, hash }) => ({ shard, sequence: BigInt(sequence), hash })),
      });
    },
    readChain: ({ shard = 0 }) => this.#readChain(shard),
  };

  async *#readChain(shard: number) {
    const records = (this.shards.records[shard] ?? []).map(({ castAt, ...record }) => ({
      ...record,
      castAtMicros: BigInt(castAt),
    }));
    yield create(ReadChainResponseSchema, { run: create(RunSchema, { shard, firstSequence: 1n, records }) });
  }
}

test("what a shard has when it is first seen is read at once, also when nobody answered before", async () => {
  const seen = new WatchedShards(["down", "down", [0, 1]]);
  await seen.run();
  const [a, b] = seen.shards.heads.map(({ sequence }) => sequence);
  expect(seen.tails).toEqual([
    [0, 0],
    [0, 0],
    [a, b],
  ]);
});

test("so is what a shard has that answers later than the others", async () => {
  const seen = new WatchedShards([[0], [0, 1]]);
  await seen.run();
  const [a, b] = seen.shards.heads.map(({ sequence }) => sequence);
  expect(seen.tails).toEqual([
    [a, 0],
    [a, b],
  ]);
});

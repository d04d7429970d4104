import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { SubmitHeadResponseSchema } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import {
  ConfirmSealedResponseSchema,
  ElectionState,
  HeadsResponseSchema,
  ReadChainResponseSchema,
  RunSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ChainError } from "../ballot/chain.ts";
import { FormatError } from "../ballot/format-error.ts";
import { logOrigin } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { toHex } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { Feed } from "../core/feed.ts";
import { treeSize } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { parseEvent } from "../evidence/event.ts";
import { signKeyChange } from "../evidence/key-change.ts";
import { checkpointKey, parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { decodeSegment } from "../evidence/segment.ts";
import { parseVoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { formatCheckpoint } from "../tlog/checkpoint.ts";
import { NoteSigner, signNote } from "../tlog/note.ts";
import { AuditFixture, silentLogger, TestShards, testElection } from "./audit-fixture.ts";
import { ElectionSealer, type SealingState } from "./election-sealer.ts";
import { EventKey } from "./event-key.ts";
import { sameHeads } from "./evidence-replay.ts";
import { ContestedError } from "./halt.ts";
import { auditMetrics } from "./metrics.ts";
import type { Publisher } from "./publication.ts";
import type { RecordMessage } from "./record-message.ts";
import type { ShardRouter } from "./shard-watch.ts";

/** ShardRouter's answers about shards that a test holds in memory. */
class TestRouter {
  shards: TestShards;
  closed = false;
  down = false;
  /** Whether it takes no reports of what is sealed. */
  deaf = false;
  /** A shard whose instance does not answer. */
  absent: number | undefined;
  readonly sealed: number[] = [];
  chainReads = 0;
  headsAsked = 0;

  constructor(shards: TestShards) {
    this.shards = shards;
  }

  readonly client: Pick<ShardRouter, "heads" | "readChain" | "confirmSealed"> = {
    heads: async () => {
      this.headsAsked++;
      this.#check();
      const answering = this.shards.heads.filter(({ shard }) => shard !== this.absent);
      const heads = answering.map(({ shard, sequence, hash }) => ({
        shard,
        sequence: BigInt(sequence),
        hash,
        castAtMicros: 0n,
        closed: this.closed,
        sealedSequence: 0n,
      }));
      const state = this.closed ? ElectionState.CLOSED : ElectionState.OPEN;
      return create(HeadsResponseSchema, { heads, state });
    },
    readChain: (request) => this.#readChain(request),
    confirmSealed: async ({ shards }) => {
      this.#check();
      if (this.deaf) throw new ServiceError("unavailable", "it does not hear");
      for (const { shard, sequence } of shards ?? []) this.sealed[shard ?? 0] = Number(sequence);
      return create(ConfirmSealedResponseSchema);
    },
  };

  async *#readChain(request: Parameters<ShardRouter["readChain"]>[0]) {
    this.#check();
    this.chainReads++;
    const records = this.shards.records[request.shard ?? 0] ?? [];
    const first = Number(request.firstSequence);
    const wanted = records.slice(first - 1, first - 1 + Number(request.limit));
    for (let at = 0; at < wanted.length; at += 100) {
      const part = wanted.slice(at, at + 100);
      const run = create(RunSchema, {
        shard: request.shard ?? 0,
        firstSequence: BigInt(first + at),
        records: part.map((record) => ({
          voterPseudonym: record.voterPseudonym,
          revision: record.revision,
          sealedChoice: record.sealedChoice,
          castAtMicros: BigInt(record.castAt),
          hash: record.hash,
        })),
      });
      yield create(ReadChainResponseSchema, { run });
    }
  }

  #check(): void {
    if (this.down) throw new ServiceError("unavailable", "the router is down");
  }
}

class TestPublisher {
  refusal: ServiceError | undefined;
  /** Asked for with every head, as by a Publisher that does not look for it in the log. */
  keyChange = "";
  readonly submitted: { size: number; endsBlock: boolean }[] = [];
  readonly #signer = NoteSigner.fromSeed("psephos.test/test", new Uint8Array(32).fill(1));

  readonly client: Publisher = {
    submitHead: async ({ treeSize: size, root, endsBlock }) => {
      if (this.refusal) throw this.refusal;
      this.submitted.push({ size: Number(size), endsBlock: endsBlock ?? false });
      const text = formatCheckpoint({
        origin: "psephos.test/test",
        size: treeSize(size ?? 0n),
        root: asHash(root ?? new Uint8Array()),
      });
      const note = signNote(text, [this.#signer]);
      return create(SubmitHeadResponseSchema, { note, keyChange: this.keyChange });
    },
  };
}

class TestMessage implements RecordMessage {
  readonly data = new Uint8Array();
  acked = 0;
  naked = 0;
  ack(): void {
    this.acked++;
  }
  nak(): void {
    this.naked++;
  }
}

async function start(
  fixture: AuditFixture,
  options: { bufferRecords?: number; objection?: Feed<string | undefined> } = {},
) {
  const { bufferRecords = 30_000, objection } = options;
  const router = new TestRouter(fixture.shards);
  const publisher = new TestPublisher();
  const stop = new AbortController();
  const sealer = new ElectionSealer({
    election: fixture.election,
    stores: fixture.stores,
    router: router.client as ShardRouter,
    publisher: publisher.client,
    objection,
    limits: { headIntervalMs: 20, pollIntervalMs: 30, bufferRecords },
    metrics: auditMetrics(new Metrics({ service: "test" })),
    clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 30), signal) },
    logger: silentLogger,
    signal: stop.signal,
  });
  const running = sealer.run();
  const end = async () => {
    stop.abort();
    await running;
  };
  fixture.running.defer(end);
  const until = async (state: SealingState, size?: number) => {
    const limit = AbortSignal.timeout(8_000);
    for await (const status of sealer.status.watch(limit)) {
      if (status.state === state && (size === undefined || status.head?.treeSize === size)) return status;
    }
    throw new Error(
      `still ${JSON.stringify(sealer.status.current.state)} at ${sealer.status.current.head?.treeSize}`,
    );
  };
  return { sealer, router, publisher, until, end };
}

describe("sealing an election", () => {
  test("seals what the stream brings, acknowledges it, and closes the log", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, router, publisher, until } = await start(fixture);
    await until("sealing", 1);
    const message = new TestMessage();
    sealer.receive(fixture.shards.cast(300), message);
    expect(message.acked).toBe(0);
    await until("sealing", 301);
    expect(message.acked).toBe(1);
    expect(router.chainReads).toBe(0);
    router.closed = true;
    await until("complete", 302);
    await expect.poll(() => publisher.submitted.at(-1)).toEqual({ size: 302, endsBlock: true });
    await expect.poll(() => router.sealed).toEqual(fixture.shards.heads.map(({ sequence }) => sequence));
    const key = checkpointKey(fixture.election.electionId, 1);
    await expect.poll(() => fixture.evidence.get(key)).toBeDefined();
    const json = await fixture.evidence.get(key);
    const head = await fixture.verify();
    expect(parseVoteCheckpoint(json ?? new Uint8Array())).toMatchObject({ number: 1, treeSize: 302 });
    expect(head.closed).toBe(true);
  });

  test("reads from the shards whatever the stream never brought", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, router, until } = await start(fixture);
    await until("sealing", 1);
    fixture.shards.cast(500);
    sealer.receive(fixture.shards.cast(40), new TestMessage());
    await until("sealing", 541);
    expect(router.chainReads).toBeGreaterThan(0);
    await fixture.verify();
  });

  test("signs every block's end in order, and only the newest head between", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(21_000);
    const { publisher, router, until } = await start(fixture);
    await until("sealing", 21_001);
    router.closed = true;
    await until("complete", 21_002);
    await expect.poll(() => publisher.submitted.at(-1)?.size).toBe(21_002);
    const ends = publisher.submitted.filter(({ endsBlock }) => endsBlock).map(({ size }) => size);
    expect(ends).toEqual([10_000, 20_000, 21_002]);
    const sizes = publisher.submitted.map(({ size }) => size);
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    await fixture.verify();
  });

  test("goes on signing where the checkpoints of old blocks are there and cannot be read", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(10_500);
    const first = await start(fixture);
    await first.until("sealing", 10_501);
    const key = checkpointKey(fixture.election.electionId, 1);
    await expect.poll(() => fixture.evidence.get(key), { timeout: 5_000 }).toBeDefined();
    await first.end();
    fixture.evidence.fault = (operation) =>
      operation.name === "get" && operation.key === key ? "before" : undefined;
    const { publisher, until } = await start(fixture);
    await until("sealing", 10_501);
    await expect.poll(() => publisher.submitted.at(-1)?.size, { timeout: 5_000 }).toBe(10_501);
  });

  test("goes on sealing while the Publisher is away, and catches up with the blocks", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(10_500);
    const { publisher, until } = await start(fixture);
    publisher.refusal = new ServiceError("unavailable", "away");
    await until("sealing", 10_501);
    publisher.refusal = undefined;
    await expect
      .poll(() => publisher.submitted.map(({ size }) => size).filter((size) => size > 1), { timeout: 5_000 })
      .toEqual([10_000, 10_501]);
  });

  test("writes the checkpoint of a block that was finished before a restart", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(10_500);
    const first = await start(fixture);
    first.publisher.refusal = new ServiceError("unavailable", "away");
    await first.until("sealing", 10_501);
    await first.end();
    const key = checkpointKey(fixture.election.electionId, 1);
    expect(await fixture.evidence.get(key)).toBeUndefined();
    const second = await start(fixture);
    await expect.poll(() => fixture.evidence.get(key), { timeout: 5_000 }).toBeDefined();
    expect(second.publisher.submitted[0]).toEqual({ size: 10_000, endsBlock: true });
  });

  test("halts when the Publisher finds a fork, and says why", async () => {
    await using fixture = await AuditFixture.create();
    const { publisher, sealer, until } = await start(fixture);
    await until("sealing", 1);
    publisher.refusal = new ServiceError("data-loss", "does not extend size 1", { reason: "FORKED_HEAD" });
    sealer.receive(fixture.shards.cast(10), new TestMessage());
    const { haltedBecause } = await until("halted");
    expect(haltedBecause).toMatch(/Publisher refused.*does not extend/);
    const late = new TestMessage();
    sealer.receive(fixture.shards.cast(5), late);
    expect(late.acked).toBe(1);
  });

  test("halts when a shard's own chain does not verify, naming shard and sequence", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(200);
    const changed = fixture.shards.records[2]?.[4];
    if (changed) fixture.shards.records[2]?.splice(4, 1, { ...changed, sealedChoice: new Uint8Array(63) });
    const { until } = await start(fixture);
    const { haltedBecause } = await until("halted");
    expect(haltedBecause).toMatch(/^shard 2, sequence 5: /);
  });

  test("halts when a shard goes back behind what is sealed", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(200);
    const { router, until } = await start(fixture);
    await until("sealing", 201);
    router.shards = new TestShards(fixture.election);
    const { haltedBecause } = await until("halted");
    expect(haltedBecause).toMatch(/restored from a backup/);
  });

  test("refuses a message that does not verify, and reads the truth from the shard", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, until } = await start(fixture);
    await until("sealing", 1);
    const runs = fixture.shards.cast(50);
    const forged = runs.map((run) => run.map((record): VoteRecord => ({ ...record, revision: 2 })));
    expect(() => sealer.receive(forged, new TestMessage())).toThrow(ChainError);
    await until("sealing", 51);
    await fixture.verify();
  });

  test("has a message come again that forged ones contradict, until its shard has been asked", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, until } = await start(fixture);
    await until("sealing", 1);
    sealer.receive(new TestShards(fixture.election).cast(60), new TestMessage());
    const runs = fixture.shards.cast(80);
    const message = new TestMessage();
    sealer.receive(runs, message);
    expect(message).toMatchObject({ acked: 0, naked: 1 });
    await until("sealing", 81);
    sealer.receive(runs, message);
    expect(message).toMatchObject({ acked: 1, naked: 1 });
    await fixture.verify();
  });

  test("seals nothing that only the stream has said", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, until } = await start(fixture);
    await until("sealing", 1);
    const forged = new TestShards(fixture.election).cast(60);
    sealer.receive(forged, new TestMessage());
    fixture.shards.cast(80);
    await until("sealing", 81);
    const { shardHeads } = await fixture.verify();
    expect(shardHeads.map(({ sequence }) => sequence)).toEqual(
      fixture.shards.heads.map(({ sequence }) => sequence),
    );
    expect(sameHeads(shardHeads, fixture.shards.heads)).toBe(true);
  });

  test("closes the log although the stream has records beyond a shard's end", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, router, until } = await start(fixture);
    await until("sealing", 1);
    fixture.shards.cast(40);
    await until("sealing", 41);
    const ahead = new TestShards(fixture.election);
    ahead.continueFrom(fixture.shards.heads);
    // More than a block: a commit would be due at once, were they the shards'.
    sealer.receive(ahead.cast(12_000), new TestMessage());
    router.closed = true;
    await until("complete", 42);
    await fixture.verify();
  });

  test("tells the router what is sealed until it hears it, also after a restart", async () => {
    await using fixture = await AuditFixture.create();
    const first = await start(fixture);
    await first.until("sealing", 1);
    fixture.shards.cast(40);
    first.router.deaf = true;
    await first.until("sealing", 41);
    await first.end();
    expect(first.router.sealed).not.toContain(fixture.shards.heads[0]?.sequence);
    const { router } = await start(fixture);
    router.deaf = true;
    setTimeout(() => {
      router.deaf = false;
    }, 200);
    await expect.poll(() => router.sealed).toEqual(fixture.shards.heads.map(({ sequence }) => sequence));
  });

  test("seals the other shards while one does not answer, however much of it the stream has brought", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, router, until } = await start(fixture, { bufferRecords: 10_000 });
    await until("sealing", 1);
    router.absent = 0;
    const runs = fixture.shards.cast(45_000);
    sealer.receive([runs[0]?.slice(0, 10_000) ?? []], new TestMessage());
    const others = fixture.shards.records.slice(1).reduce((sum, records) => sum + records.length, 0);
    await until("sealing", 1 + others);
    router.absent = undefined;
    await until("sealing", 45_001);
    await fixture.verify();
  });

  test("does not ask the shards without pause when nothing can be confirmed", async () => {
    await using fixture = await AuditFixture.create();
    const { sealer, router, until } = await start(fixture);
    await until("sealing", 1);
    const runs = new TestShards(fixture.election).cast(9_999);
    sealer.receive(runs, new TestMessage());
    const before = router.headsAsked;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(router.headsAsked - before).toBeLessThan(100);
  });

  test("waits while the shards cannot be reached", async () => {
    await using fixture = await AuditFixture.create();
    fixture.shards.cast(50);
    const { router, until } = await start(fixture);
    router.down = true;
    await until("sealing", 1);
    router.down = false;
    await until("sealing", 51);
  });

  test("stands by when its lease is lost, and goes on when it has it again", async () => {
    await using fixture = await AuditFixture.create();
    const { until } = await start(fixture);
    await until("sealing", 1);
    fixture.shards.cast(50);
    fixture.heads.lost.abort();
    await until("standby");
    fixture.heads.renew();
    const { head } = await until("sealing", 51);
    expect(toHex(head?.root ?? new Uint8Array())).toBe(toHex((await fixture.verify()).root));
  });

  describe("events", () => {
    const key = new EventKey(new Uint8Array(32).fill(7));
    const event = (fixture: AuditFixture, number: number) =>
      key.sign(fixture.election.manifest, { kind: "reconciliation", at: number, details: { number } });
    const sealedEvents = async ({ evidence, election }: AuditFixture) => {
      const numbers: unknown[] = [];
      for await (const name of evidence.list(votesPrefix(election.electionId))) {
        const object = parseSegmentKey(name) && (await evidence.get(name));
        for (const entry of object ? decodeSegment(object).entries : []) {
          if (entry.type === "event") numbers.push(parseEvent(entry.note).details.number);
        }
      }
      return numbers;
    };

    test("of a change of the log's key come from the Publisher, and into the log once", async () => {
      await using fixture = await AuditFixture.create();
      const { sealer, publisher, until } = await start(fixture);
      await until("sealing", 1);
      const { electionId, manifest } = fixture.election;
      const origin = logOrigin(manifest);
      const [from, to] = [1, 2].map((seed) => NoteSigner.fromSeed(origin, new Uint8Array(32).fill(seed)));
      if (!from || !to) throw new Error("no keys");
      publisher.keyChange = event(fixture, 1); // It is none.
      sealer.receive(fixture.shards.cast(5), new TestMessage());
      await until("sealing", 6);
      publisher.keyChange = signKeyChange(electionId, from, to);
      sealer.receive(fixture.shards.cast(5), new TestMessage());
      await until("sealing", 12);
      const heads = publisher.submitted.length;
      sealer.receive(fixture.shards.cast(5), new TestMessage());
      await until("sealing", 17);
      await expect.poll(() => publisher.submitted.length).toBeGreaterThan(heads);
      expect(await sealedEvents(fixture)).toEqual([undefined]);
      await fixture.verify();
    });

    test("go into the log alone, with votes, and before it is closed", async () => {
      await using fixture = await AuditFixture.create();
      const { sealer, router, until } = await start(fixture);
      expect(sealer.appendEvent(event(fixture, 0))).toBe(false);
      await until("sealing", 1);
      expect(sealer.appendEvent(event(fixture, 1))).toBe(true);
      await until("sealing", 2);
      sealer.receive(fixture.shards.cast(30), new TestMessage());
      expect(sealer.appendEvent(event(fixture, 2))).toBe(true);
      await until("sealing", 33);
      router.closed = true;
      expect(sealer.appendEvent(event(fixture, 3))).toBe(true);
      const { head } = await until("complete", 35);
      expect(head?.shardHeads.reduce((sum, { sequence }) => sum + sequence, 0)).toBe(30);
      expect(sealer.appendEvent(event(fixture, 4))).toBe(false);
      expect(await sealedEvents(fixture)).toEqual([1, 2, 3]);
      await fixture.verify();
    });

    test.each(["before", "after"] as const)(
      "that wait when the lease is lost are forgotten, and none is there twice: a swap that fails %s it is done",
      async (when) => {
        await using fixture = await AuditFixture.create();
        const { sealer, until } = await start(fixture);
        await until("sealing", 1);
        expect(sealer.spells).toBe(1);
        const swapped = Promise.withResolvers<void>();
        fixture.heads.fault = (operation) => {
          if (operation !== "swap") return undefined;
          swapped.resolve();
          return when;
        };
        expect(sealer.appendEvent(event(fixture, 1))).toBe(true);
        await swapped.promise;
        expect(sealer.appendEvent(event(fixture, 2))).toBe(true);
        fixture.heads.lost.abort();
        await until("standby");
        fixture.heads.fault = () => undefined;
        fixture.heads.renew();
        // The first is adopted from the evidence, or was committed.
        await until("sealing", 2);
        expect(sealer.spells).toBe(2);
        expect(sealer.appendEvent(event(fixture, 3))).toBe(true);
        await until("sealing", 3);
        expect(await sealedEvents(fixture)).toEqual([1, 3]);
        await fixture.verify();
      },
    );

    test("of a log whose end of a block is near leave the votes for the next", async () => {
      await using fixture = await AuditFixture.create();
      fixture.shards.cast(9_998);
      const { sealer, until } = await start(fixture);
      await until("sealing", 9_999);
      expect(sealer.appendEvent(event(fixture, 1))).toBe(true);
      expect(sealer.appendEvent(event(fixture, 2))).toBe(true);
      await until("sealing", 10_001);
      expect(await sealedEvents(fixture)).toEqual([1, 2]);
      await fixture.verify();
    });

    test("of another election are refused", async () => {
      await using fixture = await AuditFixture.create();
      const { sealer } = await start(fixture);
      const { manifest } = testElection({ id: "another" });
      const foreign = key.sign(manifest, { kind: "worm-probe", at: 1, details: {} });
      expect(() => sealer.appendEvent(foreign)).toThrow(FormatError);
      expect(() => sealer.appendEvent("no note")).toThrow(FormatError);
    });
  });

  test("pauses while something speaks against it, keeps what arrives, and goes on", async () => {
    await using fixture = await AuditFixture.create();
    const objection = new Feed<string | undefined>("the store was not probed");
    const { sealer, router, until } = await start(fixture, { objection });
    const { pausedBecause } = await until("paused");
    expect(pausedBecause).toBe("the store was not probed");
    await systemClock.sleep(60);
    expect(fixture.heads.heads.size).toBe(0);
    objection.publish(undefined);
    await until("sealing", 1);

    objection.publish("the store failed");
    expect(await until("paused", 1)).toMatchObject({ pausedBecause: "the store failed" });
    const message = new TestMessage();
    sealer.receive(fixture.shards.cast(30), message);
    fixture.shards.cast(20);
    const event = new EventKey(new Uint8Array(32)).sign(fixture.election.manifest, {
      kind: "worm-probe",
      at: 1,
      details: {},
    });
    expect(sealer.appendEvent(event)).toBe(true);
    router.closed = true;
    await systemClock.sleep(150);
    expect(sealer.status.current).toMatchObject({ state: "paused", head: { treeSize: 1 } });
    expect(message).toMatchObject({ acked: 0, naked: 0 });
    expect(fixture.heads.heads.get(fixture.election.electionId)?.treeSize).toBe(1);

    objection.publish(undefined);
    const { pausedBecause: now } = await until("complete", 53);
    expect(now).toBeUndefined();
    expect(message.acked).toBe(1);
    await fixture.verify();
  });

  test("stops in order while it is paused", async () => {
    await using fixture = await AuditFixture.create();
    const { until, end } = await start(fixture, { objection: new Feed<string | undefined>("no") });
    await until("paused");
    await end();
    expect(fixture.heads.heads.size).toBe(0);
  });

  test("adopts what a crash left behind only when it may seal, and shows the head until then", async () => {
    await using fixture = await AuditFixture.create();
    const { electionId, manifestHash } = fixture.election;
    const log = await fixture.open();
    await log.commit([{ type: "manifest", manifestHash }]);
    const [record] = fixture.shards.cast(1).flat();
    if (!record) throw new Error("nobody voted");
    fixture.heads.fault = (operation) => {
      if (operation === "swap") throw new ContestedError(log.head.treeSize, "as a crash would end it");
      return undefined;
    };
    await expect(log.commit([{ type: "vote", record }])).rejects.toThrow(ContestedError);
    fixture.heads.fault = () => undefined;

    const objection = new Feed<string | undefined>("no");
    const { sealer, until } = await start(fixture, { objection });
    await until("paused", 1);
    const early = new EventKey(new Uint8Array(32));
    const note = early.sign(fixture.election.manifest, { kind: "worm-probe", at: 1, details: {} });
    expect(sealer.appendEvent(note)).toBe(true);
    await systemClock.sleep(100);
    expect(fixture.heads.heads.get(electionId)?.treeSize).toBe(1);
    objection.publish(undefined);
    await until("sealing", 3);
    await fixture.verify();
  });

  test("a log that is closed is complete, whatever speaks against sealing", async () => {
    await using fixture = await AuditFixture.create();
    const first = await start(fixture);
    await first.until("sealing", 1);
    first.router.closed = true;
    await first.until("complete", 2);
    await first.end();
    const { until } = await start(fixture, { objection: new Feed<string | undefined>("no") });
    await until("complete", 2);
  });

  test("opens the log again where another process has moved it, and goes on from there", async () => {
    await using fixture = await AuditFixture.create();
    const { until } = await start(fixture);
    await until("sealing", 1);
    const other = await fixture.open();
    fixture.shards.cast(30);
    const [record] = fixture.shards.records.flat();
    if (!record) throw new Error("nobody voted");
    await other.commit([{ type: "vote", record }]);
    await until("sealing", 31);
    await fixture.verify();
  });
});

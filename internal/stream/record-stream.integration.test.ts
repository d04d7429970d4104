import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { DevelopmentCa } from "../../deploy/local/dev-ca.ts";
import { LocalNats } from "../../deploy/local/nats.ts";
import { findNatsServer } from "../../deploy/local/nats-binary.ts";
import { PortBook } from "../../deploy/local/ports.ts";
import { decodeUtf8, utf8 } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { createLogger } from "../telemetry/logger.ts";
import { RecordStream, type RecordStreamOptions } from "./record-stream.ts";
import type { StreamMessage } from "./stream-message.ts";
import { MAX_MESSAGE_BYTES } from "./streams.ts";

const vermont = electionId("vermont-2020");
const maine = electionId("maine-2024");
const unavailable = expect.objectContaining({ name: "ServiceError", kind: "unavailable" });

let folder: string;
let program: string;
let version: string;
let ca: DevelopmentCa;
let ports: PortBook;
let servers = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "psephos-stream-"));
  ({ program, version } = await findNatsServer());
  ca = await DevelopmentCa.open(join(folder, "ca"));
  ports = await PortBook.open(join(folder, "ports.json"));
}, 600_000);

afterAll(async () => {
  ports[Symbol.dispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A server of its own, with what a test needs around it. All ends when the test does, clients first. */
async function newPlace({ started = true } = {}) {
  const stack = new AsyncDisposableStack();
  const number = servers++;
  const port = await ports.port(`nats-${number}`);
  const nats = stack.use(new LocalNats({ program, folder: join(folder, `nats-${number}`), port, ca }));
  if (started) await nats.start();

  const connectAs = async (service: string, options: Partial<RecordStreamOptions> = {}) => {
    const files = await ca.identity(service);
    return stack.use(
      await RecordStream.connect({
        servers: [nats.url],
        tls: {
          caFile: files.ca,
          certFile: files.cert,
          keyFile: files.key,
          serverId: ca.spiffeId("service/nats"),
        },
        name: service,
        replicas: 1,
        timeoutMs: 2_000,
        logger: createLogger({ service: "test", level: "silent" }),
        ...options,
      }),
    );
  };
  return {
    nats,
    router: (options?: Partial<RecordStreamOptions>) => connectAs("service/shard-router", options),
    audit: (options?: Partial<RecordStreamOptions>) => connectAs("service/audit-service", options),
    connectAs,
    /** The nats client itself, to look at the server from beside. */
    async raw(service: string): Promise<NatsConnection> {
      const files = await ca.identity(service);
      const tls = { caFile: files.ca, certFile: files.cert, keyFile: files.key };
      const connection = await connect({ servers: nats.url, tls });
      stack.defer(() => connection.close());
      return connection;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Consumes until disposed of. Acks what it gets unless told otherwise. */
function consume(
  stream: RecordStream,
  handler: (message: StreamMessage) => Promise<void> | void = (message) => message.ack(),
  durable = "audit",
) {
  const got: { text: string; subject: string; deliveries: number }[] = [];
  const stop = new AbortController();
  const done = stream.consume(
    durable,
    async (message) => {
      got.push({ text: decodeUtf8(message.data), subject: message.subject, deliveries: message.deliveries });
      await handler(message);
    },
    stop.signal,
  );
  return {
    got,
    texts: () => got.map((message) => message.text),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await done;
    },
  };
}

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 10_000, interval: 20 });

/** Stops a server without ending it, as a full disk or a frozen machine would. Answers how to let it go on. */
async function hang(nats: LocalNats): Promise<() => void> {
  const pid = nats.pid;
  if (pid === undefined) throw new Error("nats is not running");
  process.kill(pid, "SIGSTOP");
  await sleep(200); // The signal reaches all of its threads.
  return () => process.kill(pid, "SIGCONT");
}

/** As the shard router does it: again until it is stored. */
async function publishUntilStored(stream: RecordStream, text: string): Promise<void> {
  for (;;) {
    try {
      return await stream.publish(vermont, utf8(text));
    } catch (error) {
      expect(error).toEqual(unavailable);
      await sleep(20);
    }
  }
}

describe("RecordStream over a real nats-server", { timeout: 30_000 }, () => {
  test("what is published is consumed, once, with its election", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const audit = await place.audit({ ackWaitMs: 1_000 });
    await using consumer = consume(audit);
    await router.publish(vermont, utf8("one"));
    await router.publish(maine, utf8("two"));
    await router.publish(vermont, utf8("three"));
    await eventually(() => expect(consumer.got).toHaveLength(3));
    await sleep(1_300);
    expect(consumer.got).toEqual([
      { text: "one", subject: "psephos.records.vermont-2020", deliveries: 1 },
      { text: "two", subject: "psephos.records.maine-2024", deliveries: 1 },
      { text: "three", subject: "psephos.records.vermont-2020", deliveries: 1 },
    ]);
  });

  test("streams are made as they should be, and brought there when they are not", async () => {
    await using place = await newPlace();
    const router = await place.router({ maxBytes: 1_000_000 });
    await Promise.all([router.ensureStreams(), router.ensureStreams()]);
    await router.ensureStreams();
    const manager = await (await place.raw("service/audit-service")).jetstreamManager();
    const config = async () => (await manager.streams.info("PSEPHOS_RECORDS")).config;
    expect(await config()).toMatchObject({
      subjects: ["psephos.records.*"],
      storage: "file",
      retention: "limits",
      discard: "old",
      num_replicas: 1,
      max_bytes: 1_000_000,
      max_age: 3 * 86_400 * 1e9,
      duplicate_window: 120 * 1e9,
    });
    expect((await manager.streams.info("PSEPHOS_PARKED")).config.subjects).toEqual(["psephos.parked"]);

    const changed = await place.router({ maxBytes: 2_000_000 });
    await changed.ensureStreams();
    expect((await config()).max_bytes).toBe(2_000_000);
  });

  test("replicas that a single server cannot keep are an error, not fewer replicas", async () => {
    await using place = await newPlace();
    const router = await place.router({ replicas: 3 });
    await expect(router.ensureStreams()).rejects.toEqual(unavailable);
    await expect(router.publish(vermont, utf8("x"))).rejects.toEqual(unavailable);
  });

  test("over its size the stream drops its oldest messages", async () => {
    await using place = await newPlace();
    const router = await place.router({ maxBytes: 200_000 });
    for (let i = 0; i < 10; i++) await router.publish(vermont, utf8(`${i}`.repeat(50_000)));
    await using consumer = consume(await place.audit({ maxBytes: 200_000 }));
    await eventually(() => expect(consumer.texts().at(-1)?.[0]).toBe("9"));
    expect(consumer.texts().map((text) => text[0])).toEqual(["7", "8", "9"]);
  });

  test("equal bytes published again are stored once, for each election", async () => {
    await using place = await newPlace();
    const router = await place.router();
    for (const election of [vermont, maine, vermont]) await router.publish(election, utf8("same"));
    await using consumer = consume(await place.audit());
    await router.publish(vermont, utf8("last"));
    await eventually(() => expect(consumer.texts()).toEqual(["same", "same", "last"]));
  });

  test("the server may be down at start: publishing fails until it is up, and consuming waits", async () => {
    await using place = await newPlace({ started: false });
    const router = await place.router();
    const audit = await place.audit();
    await using consumer = consume(audit);
    expect(router.connected).toBe(false);
    await expect(router.ensureStreams()).rejects.toEqual(unavailable);
    await expect(router.publish(vermont, utf8("lost"))).rejects.toMatchObject({ retryDelayMs: 500 });

    await place.nats.start();
    await publishUntilStored(router, "first");
    expect(router.connected).toBe(true);
    await eventually(() => expect(consumer.texts()).toEqual(["first"]));
  });

  test("a server killed and started again in the middle costs nothing that was stored", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await using consumer = consume(await place.audit({ ackWaitMs: 2_000 }));
    const texts = Array.from({ length: 60 }, (_, i) => `message ${i}`);
    const publishing = (async () => {
      for (const text of texts) {
        await publishUntilStored(router, text);
        await sleep(10);
      }
    })();
    await eventually(() => expect(consumer.got.length).toBeGreaterThan(5));
    await place.nats.kill();
    await expect(router.publish(vermont, utf8("while down"))).rejects.toEqual(unavailable);
    await sleep(200);
    await place.nats.start();
    await publishing;
    await eventually(() => expect(new Set(consumer.texts())).toEqual(new Set([...texts])));
  });

  test("after the server's data is wiped, both sides make what they need and go on", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await using consumer = consume(await place.audit());
    await router.publish(vermont, utf8("before"));
    await eventually(() => expect(consumer.texts()).toEqual(["before"]));

    await place.nats.stop();
    await place.nats.wipe();
    await place.nats.start();
    await publishUntilStored(router, "after");
    await eventually(() => expect(consumer.texts()).toEqual(["before", "after"]));
  });

  test("publishing alone makes the streams again, at once", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await router.publish(vermont, utf8("before"));
    await place.nats.stop();
    await place.nats.wipe();
    await place.nats.start();
    await eventually(() => expect(router.connected).toBe(true));
    await Promise.all(Array.from({ length: 20 }, (_, i) => router.publish(vermont, utf8(`after ${i}`))));
    await using consumer = consume(await place.audit());
    await eventually(() => expect(consumer.got).toHaveLength(20));
  });

  test("a consumer deleted under its feet is made again", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await using consumer = consume(await place.audit());
    await router.publish(vermont, utf8("one"));
    await eventually(() => expect(consumer.texts()).toContain("one"));
    const manager = await (await place.raw("service/audit-service")).jetstreamManager();
    await manager.consumers.delete("PSEPHOS_RECORDS", "audit");
    await router.publish(vermont, utf8("two"));
    await eventually(() => expect(consumer.texts()).toContain("two"));
  });

  test("a message without an answer comes again, and one that is worked on does not", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const audit = await place.audit({ ackWaitMs: 1_500 });
    const work = async (message: StreamMessage) => {
      for (let i = 0; i < 4; i++) {
        await sleep(500);
        message.working();
      }
      message.ack();
    };
    const working: Promise<void>[] = [];
    await using consumer = consume(audit, (message) => {
      if (decodeUtf8(message.data) === "slow") working.push(work(message));
      else if (message.deliveries === 2) message.ack();
    });
    await router.publish(vermont, utf8("unanswered"));
    await router.publish(vermont, utf8("slow"));
    await eventually(() => expect(consumer.got).toHaveLength(3));
    await Promise.all(working);
    await sleep(1_800);
    expect(consumer.got.map(({ text, deliveries }) => [text, deliveries])).toEqual([
      ["unanswered", 1],
      ["slow", 1],
      ["unanswered", 2],
    ]);
  });

  test("a message given back comes again after the delay asked for", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const times: number[] = [];
    await using consumer = consume(await place.audit(), (message) => {
      times.push(Date.now());
      if (message.deliveries === 1) message.nak(600);
      else if (message.deliveries === 2) message.nak();
      else message.ack();
    });
    await router.publish(vermont, utf8("x"));
    await eventually(() => expect(consumer.got.map((message) => message.deliveries)).toEqual([1, 2, 3]));
    const [first = 0, second = 0, third = 0] = times;
    expect(second - first).toBeGreaterThanOrEqual(590);
    expect(third - second).toBeLessThan(5_000); // Far below the ack wait.
  });

  test("a handler that rejects gets its message again, and the next ones all the same", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await using consumer = consume(await place.audit(), (message) => {
      if (decodeUtf8(message.data) === "bad" && message.deliveries < 3) throw new Error("cannot");
      message.ack();
    });
    await router.publish(vermont, utf8("bad"));
    await router.publish(vermont, utf8("good"));
    await eventually(() => expect(consumer.texts().toSorted()).toEqual(["bad", "bad", "bad", "good"]));
    expect(consumer.texts()[0]).toBe("bad");
  });

  test("what a consumer holds unanswered is bounded, and answers may come after the handler is done", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const held: StreamMessage[] = [];
    await using consumer = consume(
      await place.audit({ maxAckPending: 3 }),
      (message) => void held.push(message),
    );
    for (let i = 0; i < 8; i++) await router.publish(vermont, utf8(`${i}`));
    await eventually(() => expect(held).toHaveLength(3));
    await sleep(300);
    expect(held).toHaveLength(3);
    for (const message of held.splice(0)) message.ack();
    await eventually(() => expect(held).toHaveLength(3));
    expect(consumer.texts()).toEqual(["0", "1", "2", "3", "4", "5"]);
  });

  test("a stopped consumer finishes the message at hand and gives back the rest at once", async ({
    skip,
  }) => {
    // Before 2.10 a message given back can go to a request that is gone, and then comes after its ack wait.
    skip(version.startsWith("2.9."));
    await using place = await newPlace();
    const router = await place.router();
    for (let i = 0; i < 5; i++) await router.publish(vermont, utf8(`${i}`));
    const audit = await place.audit({ ackWaitMs: 60_000 });
    const stop = new AbortController();
    let finished = 0;
    const started = Promise.withResolvers<void>();
    const done = audit.consume(
      "audit",
      async (message) => {
        started.resolve();
        await sleep(200);
        message.ack();
        finished++;
      },
      stop.signal,
    );
    await started.promise;
    await sleep(50); // The others are on their way.
    stop.abort();
    await done;
    expect(finished).toBe(1);

    await using next = consume(await place.audit({ ackWaitMs: 60_000 }));
    await eventually(() => expect(next.texts().toSorted()).toEqual(["1", "2", "3", "4"]));
  });

  test("an idle consumer stops at once, and one that never began stops too", async () => {
    await using place = await newPlace();
    const audit = await place.audit();
    const begun = Date.now();
    {
      await using _consumer = consume(audit);
      await sleep(200);
    }
    await audit.consume("audit", () => Promise.reject(new Error("unexpected")), AbortSignal.abort());
    expect(Date.now() - begun).toBeLessThan(4_000); // A request for messages stays open for 5 s.
    await expect(audit.consume("no.name", async () => {}, AbortSignal.abort())).rejects.toThrow(RangeError);
  });

  test("consumers of one name share the messages; another name gets all", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await using one = consume(await place.audit(), async (message) => {
      await sleep(5);
      message.ack();
    });
    await using two = consume(await place.audit(), async (message) => {
      await sleep(5);
      message.ack();
    });
    await using other = consume(await place.audit(), undefined, "auditor");
    await sleep(200); // Both are waiting before the first message comes.
    const texts = Array.from({ length: 60 }, (_, i) => `${i}`.padStart(2, "0"));
    await Promise.all(texts.map((text) => router.publish(vermont, utf8(text))));
    await eventually(() => expect([...one.texts(), ...two.texts()].toSorted()).toEqual(texts));
    await eventually(() => expect(other.texts().toSorted()).toEqual(texts));
    expect(Math.min(one.got.length, two.got.length)).toBeGreaterThan(0);
  });

  test("a parked message is kept with its reason, and does not come again", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const audit = await place.audit({ ackWaitMs: 500 });
    await using consumer = consume(audit, async (message) => {
      if (message.deliveries === 1) return; // As if this process died before it had an answer.
      await audit.park(message, "record 3: the sequence is 0\r\nInjected: yes é");
    });
    await router.publish(vermont, utf8("garbage"));
    await eventually(() => expect(consumer.got).toHaveLength(2));
    await sleep(1_200);
    expect(consumer.got).toHaveLength(2);

    const parked = await (await place.raw("operator/local")).jetstreamManager();
    const stored = await parked.streams.getMessage("PSEPHOS_PARKED", { seq: 1 });
    expect(decodeUtf8(stored.data)).toBe("garbage");
    expect(stored.header.get("Psephos-Reason")).toBe("record 3: the sequence is 0??Injected: yes ?");
    expect(stored.header.get("Psephos-Subject")).toBe("psephos.records.vermont-2020");
    expect(stored.header.get("Psephos-Sequence")).toBe("1");
    expect(stored.header.has("Injected")).toBe(false);
    expect((await parked.streams.info("PSEPHOS_PARKED")).state.messages).toBe(1);
  });

  test("the largest message goes through and can be parked; a larger one is refused", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const audit = await place.audit();
    await using consumer = consume(audit, (message) => audit.park(message, "r".repeat(10_000)));
    await router.publish(vermont, new Uint8Array(MAX_MESSAGE_BYTES).fill(0x61));
    await eventually(() => expect(consumer.got).toHaveLength(1));
    const parked = await (await place.raw("operator/local")).jetstreamManager();
    await eventually(async () =>
      expect((await parked.streams.info("PSEPHOS_PARKED")).state.messages).toBe(1),
    );

    const larger = router.publish(vermont, new Uint8Array(MAX_MESSAGE_BYTES + 1));
    await expect(larger).rejects.toMatchObject({ kind: "invalid-argument", reason: "MESSAGE_TOO_LARGE" });
  });

  test("publishes under way are bounded", async () => {
    await using place = await newPlace();
    const router = await place.router({ maxInFlight: 2 });
    await router.ensureStreams();
    const results = await Promise.allSettled(
      ["a", "b", "c"].map((text) => router.publish(vermont, utf8(text))),
    );
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(results[2]).toMatchObject({ reason: { kind: "resource-exhausted", retryDelayMs: 100 } });
    await router.publish(vermont, utf8("c"));
  });

  test("a server that hangs makes publishing fail in time, and is used again when it goes on", async () => {
    await using place = await newPlace();
    const router = await place.router({ timeoutMs: 400 });
    await router.publish(vermont, utf8("one"));
    const goOn = await hang(place.nats);
    try {
      const begun = Date.now();
      await expect(router.publish(vermont, utf8("two"))).rejects.toEqual(unavailable);
      expect(Date.now() - begun).toBeLessThan(1_900);
    } finally {
      goOn();
    }
    await publishUntilStored(router, "two");
  });

  test("a server that hangs is given up, even when nothing more can be sent to it", async () => {
    await using place = await newPlace();
    const router = await place.router({ pingIntervalMs: 200, timeoutMs: 500 });
    await router.ensureStreams();
    const goOn = await hang(place.nats);
    try {
      // More than both ends' socket buffers hold.
      const bodies = Array.from({ length: 60 }, (_, i) => new Uint8Array(MAX_MESSAGE_BYTES).fill(i));
      const results = await Promise.allSettled(bodies.map((body) => router.publish(vermont, body)));
      for (const result of results) expect(result).toMatchObject({ reason: unavailable });
      await eventually(() => expect(router.connected).toBe(false));
    } finally {
      goOn();
    }
    await publishUntilStored(router, "again");
  });

  test("stopping does not wait for a server that hangs", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await router.publish(vermont, utf8("one"));
    const goOn = await hang(place.nats);
    const begun = Date.now();
    await router[Symbol.asyncDispose]();
    goOn();
    expect(Date.now() - begun).toBeLessThan(4_000);
    await expect(router.publish(vermont, utf8("two"))).rejects.toEqual(unavailable);
  });

  test("disposing ends its consumers, and sends their last answers", async () => {
    await using place = await newPlace();
    const router = await place.router();
    const audit = await place.audit({ ackWaitMs: 60_000 });
    const handling = Promise.withResolvers<void>();
    const done = audit.consume(
      "audit",
      async (message) => {
        handling.resolve();
        await sleep(100);
        message.ack();
      },
      new AbortController().signal,
    );
    await router.publish(vermont, utf8("one"));
    await handling.promise;
    await audit[Symbol.asyncDispose]();
    await done;
    const manager = await (await place.raw("service/audit-service")).jetstreamManager();
    const info = await manager.consumers.info("PSEPHOS_RECORDS", "audit");
    expect([info.num_ack_pending, info.ack_floor.stream_seq]).toEqual([0, 1]);
  });

  test("a server that is not the one expected, or does not know us, is not used", async () => {
    await using place = await newPlace();
    const files = await ca.identity("service/shard-router");
    const tls = { caFile: files.ca, certFile: files.cert, keyFile: files.key };
    const strict = await place.router({ tls: { ...tls, serverId: ca.spiffeId("service/publisher") } });
    expect(strict.connected).toBe(false);

    const stranger = await DevelopmentCa.open(join(folder, "other-ca"));
    const other = await stranger.identity("service/shard-router");
    for (const wrong of [
      { ...tls, caFile: other.ca },
      { ...tls, certFile: other.cert, keyFile: other.key },
    ]) {
      expect((await place.router({ tls: wrong })).connected).toBe(false);
    }
    expect((await place.connectAs("service/vote-service")).connected).toBe(false); // No user of the server.
    expect((await place.router({ tls })).connected).toBe(true);
  });

  test("what a service may not publish is refused, and its connection goes on", async () => {
    await using place = await newPlace();
    const router = await place.router();
    await router.publish(vermont, utf8("x"));
    const audit = await place.audit();
    await expect(audit.publish(vermont, utf8("forged"))).rejects.toEqual(unavailable);
    expect(audit.connected).toBe(true);
    await using consumer = consume(audit);
    await eventually(() => expect(consumer.texts()).toEqual(["x"]));
  });

  test("a server that accepts and says nothing does not pile up sockets", async () => {
    await using place = await newPlace({ started: false });
    let most = 0;
    const open = new Set<object>();
    const silent = createServer((socket) => {
      open.add(socket);
      most = Math.max(most, open.size);
      socket
        .resume()
        .on("error", () => {})
        .on("close", () => open.delete(socket));
    }).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const router = await place.router({ servers: [`tls://127.0.0.1:${port}`] });
    await sleep(4_500);
    expect(most).toBeLessThanOrEqual(2);
    await router[Symbol.asyncDispose]();
    silent.close();
  });

  test("no body is logged", async () => {
    await using place = await newPlace();
    const lines: string[] = [];
    const logger = createLogger({
      service: "test",
      level: "debug",
      destination: { write: (line) => void lines.push(line) },
    });
    const router = await place.router({ logger });
    const audit = await place.audit({ logger });
    await using consumer = consume(audit, async (message) => {
      if (message.deliveries === 1) throw new Error("cannot");
      await audit.park(message, "malformed");
    });
    await router.publish(vermont, utf8("planted-body"));
    await eventually(() => expect(consumer.got).toHaveLength(2));
    await eventually(() => expect(lines.join("")).toContain("malformed"));
    expect(lines.join("")).not.toContain("planted-body");
    expect(await readFile(place.nats.logFile, "utf8")).not.toContain("planted-body");
  });
});

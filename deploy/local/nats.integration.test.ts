import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { AckPolicy, connect, type NatsConnection, nuid } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DevelopmentCa, type TlsFiles } from "./dev-ca.ts";
import { LocalNats } from "./nats.ts";
import { findNatsServer } from "./nats-binary.ts";
import { PortBook } from "./ports.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const RECORDS = { name: "PSEPHOS_RECORDS", subjects: ["psephos.records.*"] };
const PARKED = { name: "PSEPHOS_PARKED", subjects: ["psephos.parked"] };

const denied = /Permissions Violation/;

let resources: AsyncDisposableStack;
let folder: string;
let ca: DevelopmentCa;
let nats: LocalNats;

beforeAll(async () => {
  resources = new AsyncDisposableStack();
  folder = resources.use(await TemporaryFolder.create()).path;
  const ports = resources.use(await PortBook.open(join(folder, "ports.json")));
  ca = await DevelopmentCa.open(join(folder, "tls"));
  const [{ program }, port] = [await findNatsServer(), await ports.port("nats")];
  nats = resources.use(new LocalNats({ program, folder: join(folder, "nats"), port, ca }));
});

beforeEach(async () => {
  await nats.kill();
  await nats.wipe();
  await nats.start();
});

afterAll(() => resources.disposeAsync());

async function connectWith(files: TlsFiles): Promise<NatsConnection> {
  const [trusted, cert, key] = await Promise.all([
    readFile(ca.caFile, "utf8"),
    readFile(files.cert, "utf8"),
    readFile(files.key, "utf8"),
  ]);
  return connect({ servers: nats.url, tls: { ca: trusted, cert, key }, reconnect: false, timeout: 5_000 });
}

async function as(identity: string): Promise<NatsConnection & AsyncDisposable> {
  const connection = await connectWith(await ca.identity(identity));
  return Object.assign(connection, { [Symbol.asyncDispose]: () => connection.close() });
}

describe("who may do what", () => {
  test("records go from the router to the audit service, which parks what it cannot read", async () => {
    await using router = await as("service/shard-router");
    await using audit = await as("service/audit-service");
    const manager = await router.jetstreamManager();
    await manager.streams.add(RECORDS);
    await manager.streams.add(PARKED);
    await router.jetstream().publish("psephos.records.vermont-2020", "a batch");

    const consumers = (await audit.jetstreamManager()).consumers;
    await consumers.add(RECORDS.name, { durable_name: "audit", ack_policy: AckPolicy.Explicit });
    const consumer = await audit.jetstream().consumers.get(RECORDS.name, "audit");
    const message = await consumer.next();
    expect(message?.string()).toBe("a batch");
    expect(await message?.ackAck()).toBe(true);
    await audit.jetstream().publish("psephos.parked", "unreadable");
    expect((await manager.streams.info(PARKED.name)).state.messages).toBe(1);
  });

  test("the audit service cannot publish records, nor the router read or park them", async () => {
    await using router = await as("service/shard-router");
    await using audit = await as("service/audit-service");
    await (await router.jetstreamManager()).streams.add(RECORDS);

    const forged = audit.jetstream().publish("psephos.records.vermont-2020", "forged", { timeout: 500 });
    await expect(forged).rejects.toThrow(denied);
    expect(await router.jetstream().publish("psephos.records.vermont-2020", "real")).toMatchObject({
      seq: 1,
    });

    const reader = { durable_name: nuid.next(), ack_policy: AckPolicy.Explicit };
    await expect((await router.jetstreamManager()).consumers.add(RECORDS.name, reader)).rejects.toThrow(
      denied,
    );
    await expect(router.jetstream().publish("psephos.parked", "x", { timeout: 500 })).rejects.toThrow(denied);
  });

  test("neither can delete a stream", async () => {
    await using router = await as("service/shard-router");
    await using audit = await as("service/audit-service");
    await (await router.jetstreamManager()).streams.add(RECORDS);
    await expect((await router.jetstreamManager()).streams.delete(RECORDS.name)).rejects.toThrow(denied);
    await expect((await audit.jetstreamManager()).streams.purge(RECORDS.name)).rejects.toThrow(denied);
  });

  test("other members of the mesh are nobody here", async () => {
    await expect(as("service/vote-service")).rejects.toThrow(/AUTHORIZATION/i);
    await expect(as("client/shard-router")).rejects.toThrow(/AUTHORIZATION/i);
  });

  test("not without a certificate, nor with the right name from another CA", async () => {
    const trusted = await readFile(ca.caFile, "utf8");
    await expect(connect({ servers: nats.url, tls: { ca: trusted }, reconnect: false })).rejects.toThrow();
    const stranger = await DevelopmentCa.open(join(folder, "other-tls"));
    await expect(connectWith(await stranger.identity("service/shard-router"))).rejects.toThrow();
  });
});

test("streams survive a stop and a SIGKILL, and nothing survives a wipe", async () => {
  await publishOne();
  await nats.restart();
  expect(await messages()).toBe(1);
  await nats.kill();
  await nats.start();
  expect(await messages()).toBe(1);

  await expect(nats.wipe()).rejects.toThrow(/stop nats/);
  await nats.kill();
  await nats.wipe();
  await nats.start();
  await expect(messages()).rejects.toThrow(/stream not found/);
});

async function publishOne(): Promise<void> {
  await using router = await as("service/shard-router");
  await (await router.jetstreamManager()).streams.add(RECORDS);
  await router.jetstream().publish("psephos.records.vermont-2020", "a batch");
}

async function messages(): Promise<number> {
  await using router = await as("service/shard-router");
  return (await (await router.jetstreamManager()).streams.info(RECORDS.name)).state.messages;
}

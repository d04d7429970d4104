import { once } from "node:events";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeEntry } from "../ballot/entry.ts";
import { encodeManifest, parseManifest } from "../ballot/manifest.ts";
import { utf8 } from "../core/bytes.ts";
import { sequence, shardId, treeSize } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { eventEntry } from "../evidence/event.ts";
import { keyChangeFile, signKeyChange } from "../evidence/key-change.ts";
import { DurableFiles } from "../publisher/durable-files.ts";
import type { DeploymentKeys } from "../publisher/log-signers.ts";
import type { Publisher } from "../publisher/publisher.ts";
import { SigningKey } from "../publisher/signing-key.ts";
import { TEST_KEY, TEST_PREFIX, TestElection } from "../publisher/test-election.ts";
import { serveDirectory } from "../publisher/test-mirror.ts";
import { TestDirectories } from "../publisher/test-publisher.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { formatCheckpoint } from "../tlog/checkpoint.ts";
import { CosignatureSigner } from "../tlog/cosignature.ts";
import { parseNote, signNote } from "../tlog/note.ts";
import { flipBit } from "../tlog/test-oracle.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { parseWitnessPolicy } from "../tlog/witness-policy.ts";
import { httpSource } from "../verify/http-source.ts";
import type { Alert } from "./alert.ts";
import { MonitorMetrics } from "./metrics.ts";
import { type Look, Monitor, type MonitorOptions } from "./monitor.ts";
import { MonitorState } from "./monitor-state.ts";
import { Webhook } from "./webhook.ts";

/** A deployment that publishes an election's log, behind a plain web server. */
class PublishedLog {
  readonly directories: TestDirectories;
  publisher: Publisher;
  readonly url: string;
  election: TestElection;

  private constructor(
    directories: TestDirectories,
    publisher: Publisher,
    url: string,
    election: TestElection,
  ) {
    this.directories = directories;
    this.publisher = publisher;
    this.url = url;
    this.election = election;
  }

  static async start(election = new TestElection()): Promise<PublishedLog> {
    const directories = resources.use(await TestDirectories.create({ inMemory: true }));
    const publisher = resources.use(await directories.open(election));
    const { url } = resources.use(await serveDirectory(directories.public));
    return new PublishedLog(directories, publisher, url, election);
  }

  async publish(size?: number): Promise<void> {
    if (size !== undefined) this.election.grow(size);
    await this.publisher.submit(this.election.id, this.election.head());
  }

  /** From now on the deployment has these keys. */
  async reopen(keys: DeploymentKeys): Promise<void> {
    await this.publisher[Symbol.asyncDispose]();
    this.publisher = resources.use(await this.directories.open(this.election, keys));
  }

  /** The log has the change at its next entry, and is signed by the next key alone. */
  async changeKey(nextKey: SigningKey): Promise<void> {
    await this.reopen({ key: TEST_KEY, nextKey });
    await this.publish(this.election.size + 1);
    this.election.append(encodeEntry(eventEntry(this.publisher.keyChange(this.election.id) ?? "")));
    await this.publish();
    await this.reopen({ key: nextKey });
  }

  file(path: string): string {
    return join(this.directories.public, this.election.id, path);
  }

  async edit(path: string, change: (bytes: Uint8Array) => Uint8Array | string): Promise<void> {
    await writeFile(this.file(path), change(await readFile(this.file(path))));
  }
}

const START = Date.parse("2026-11-03T08:00:00Z") * 1000;

let resources: AsyncDisposableStack;
let log: PublishedLog;
let folder: string;
let state: MonitorState;
let now: number;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  now = START;
  log = await PublishedLog.start();
  folder = join(log.directories.root, "monitor");
  state = new MonitorState({ files: resources.use(await DurableFiles.open({ root: folder })) });
});
afterEach(() => resources.disposeAsync());

function look(options: Partial<MonitorOptions> = {}): Promise<Look> {
  const { id } = log.election;
  const limits = { timeoutMs: 5_000, attempts: 1 };
  return new Monitor({
    source: () => httpSource(log.url, id, limits),
    electionId: id,
    logKey: log.election.logKey,
    state,
    clock: {
      nowMicros: () => now,
      sleep: async (ms) => {
        now += ms * 1000;
      },
    },
    ...options,
  }).look();
}

const others = (...urls: readonly string[]) =>
  urls.map((url) => ({ url, read: () => httpSource(url, log.election.id, { attempts: 1 })("checkpoint") }));

async function expectAlert(alert: Partial<Alert>, options: Partial<MonitorOptions> = {}): Promise<void> {
  const before = await state.load();
  const { alerts } = await look(options);
  expect(alerts).toEqual([expect.objectContaining(alert)]);
  expect(await state.load()).toEqual(before);
  // It is told until it is over.
  expect((await look(options)).alerts).toEqual(alerts);
}

describe("a log as it should be", () => {
  test("is followed from its beginning to its end, over restarts and the end of a block", async () => {
    for (const size of [1, 2, 300, 9_999, 10_000, 10_001]) {
      await log.publish(size);
      expect(await look()).toMatchObject({ alerts: [], seen: { size, closed: false } });
      expect(await look()).toMatchObject({ alerts: [], seen: { size } });
    }
    log.election.close();
    await log.publish();
    expect(await look({ stallMs: 1 })).toMatchObject({ alerts: [], seen: { size: 10_002, closed: true } });
    // What others can compare with.
    expect(await readFile(join(folder, "checkpoint"))).toEqual(await readFile(log.file("checkpoint")));
  });
});

describe("an alert is given", () => {
  beforeEach(async () => {
    await log.publish(300);
    expect((await look()).alerts).toEqual([]);
  });

  test("of a fork of the same size and of a larger one, with its proof", async () => {
    const honest = log;
    const fork = new TestElection();
    fork.grow(290, "fork").grow(300);
    log = await PublishedLog.start(fork);
    for (const size of [300, 400]) {
      await log.publish(size);
      await expectAlert({ kind: "fork", object: "checkpoint" });
    }
    const [seen, other] = await Promise.all(
      ["seen", "other"].map(async (name) => parseNote(await readFile(join(folder, "fork-1", name))).text),
    );
    expect(seen).not.toBe(other);
    expect((await readdir(folder)).filter((name) => name.startsWith("fork")).length).toBe(2);
    log = honest;
    expect((await look()).alerts).toEqual([]);
  });

  test("of a rollback", async () => {
    const older = await readFile(log.file("checkpoint"));
    await log.publish(400);
    await look();
    await log.edit("checkpoint", () => older);
    await expectAlert({ kind: "rollback" });
  });

  test("of no rollback that a cache shows once", async () => {
    const older = await readFile(log.file("checkpoint"));
    await log.publish(400);
    await look();
    let stale = 1;
    const source = () => {
      const read = httpSource(log.url, log.election.id, { attempts: 1 });
      return async (path: string) => (path === "checkpoint" && stale-- > 0 ? older : read(path));
    };
    expect((await look({ source })).alerts).toEqual([]);
    // What came meanwhile is verified at once.
    await log.publish(500);
    stale = 1;
    expect(await look({ source })).toMatchObject({ alerts: [], seen: { size: 500 } });
  });

  test("of a stall, until it grows", async () => {
    now += 59e6;
    expect((await look({ stallMs: 60_000 })).alerts).toEqual([]);
    now += 1e6;
    await expectAlert({ kind: "stall" }, { stallMs: 60_000 });
    await log.publish(301);
    expect((await look({ stallMs: 60_000 })).alerts).toEqual([]);
  });

  test.each(["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44", "tile/0/000"])(
    "of a tile that is gone or changed: %s",
    async (path) => {
      // For somebody who has seen nothing yet.
      const fresh = join(log.directories.root, "fresh");
      state = new MonitorState({ files: resources.use(await DurableFiles.open({ root: fresh })) });
      await log.edit(path, (bytes) => flipBit(bytes, 8 * 40));
      await expectAlert({ kind: "tile" });
      await log.edit(path, (bytes) => flipBit(bytes, 8 * 40));
      await rename(log.file(path), log.file("away"));
      await expectAlert({ kind: "tile" });
      await rename(log.file("away"), log.file(path));
      expect((await look()).alerts).toEqual([]);
    },
  );

  test("of another manifest, and of none", async () => {
    const manifest = await readFile(log.file("manifest.json"));
    const other = encodeManifest({ ...parseManifest(manifest), title: "Another" });
    await log.edit("manifest.json", () => other);
    await expectAlert({ kind: "manifest" });
    await rm(log.file("manifest.json"));
    await expectAlert({ kind: "manifest" });
  });

  test("of a manifest that names another key than the one that is known", async () => {
    const logKey = log.election.logKey.replace("psephos", "another");
    await expectAlert({ kind: "manifest" }, { logKey });
  });

  test("of a chain with a gap, which is signed", async () => {
    const vote = { shard: shardId(0), sequence: sequence(1_000), recordHash: sha256(utf8("x")) };
    log.election.append(encodeEntry({ type: "vote", ...vote }));
    await log.publish();
    await expectAlert({ kind: "chain", message: expect.stringContaining("follows sequence") });
  });

  test("of a numbered checkpoint that is gone", async () => {
    await log.publish(10_000);
    await rm(log.file("checkpoints/0000000001"));
    await log.publish(10_001);
    await expectAlert({ kind: "checkpoint", object: "checkpoints/0000000001" });
  });

  test("of a numbered checkpoint of another tree, with its proof", async () => {
    const { id } = log.election;
    await log.publish(10_000);
    const root = sha256(utf8("another tree"));
    const text = formatCheckpoint({
      origin: TEST_KEY.signerFor(TEST_PREFIX, id).name,
      size: treeSize(10_000),
      root,
    });
    const other = signNote(text, [TEST_KEY.signerFor(TEST_PREFIX, id)]);
    await log.edit("checkpoints/0000000001", () => other);
    await expectAlert({ kind: "fork", object: "checkpoints/0000000001" });
    expect(await readFile(join(folder, "fork-1", "other"), "utf8")).toBe(other);
  });

  test.each<[string, (note: Uint8Array) => Uint8Array | string]>([
    ["forged", (note) => String(note).replace("\n300\n", "\n301\n")],
    ["truncated", (note) => note.subarray(0, 80)],
    ["empty", () => ""],
    ["not UTF-8", (note) => Buffer.concat([note, Buffer.of(0xff, 0x0a)])],
    ["longer than 1 MiB", (note) => String(note) + "— a.test AAAAAAAA\n".repeat(1 << 16)],
  ])("of a checkpoint that is %s", async (_, change) => {
    await log.edit("checkpoint", (note) => change(Buffer.from(note)));
    await expectAlert({ kind: "checkpoint", object: "checkpoint" });
  });

  test("of a checkpoint that is gone, and of a log that does not answer", async () => {
    await rm(log.file("checkpoint"));
    await expectAlert({ kind: "checkpoint", message: "is not there" });
    const source = () => httpSource("http://127.0.0.1:1", log.election.id, { attempts: 1 });
    await expectAlert({ kind: "unreachable" }, { source });
  });

  test("of too few cosignatures", async () => {
    const witness = CosignatureSigner.fromSeed("w.test", new Uint8Array(32).fill(3));
    const policy = parseWitnessPolicy(utf8(`witness w ${witness.verifierKey}\nquorum w\n`));
    await expectAlert({ kind: "unwitnessed" }, { policy });
    const { text } = parseNote(await readFile(log.file("checkpoint")));
    await log.edit("checkpoint", (note) => String(Buffer.from(note)) + witness.cosign(text, 1));
    expect((await look({ policy })).alerts).toEqual([]);
  });
});

describe("a log that changes its key", () => {
  const [next, thief] = ["the key that follows", "a thief's"].map(
    (name) => new SigningKey(sha256(utf8(name))),
  ) as [SigningKey, SigningKey];
  const signer = (key: SigningKey) => key.signerFor(TEST_PREFIX, log.election.id);
  const CHANGE = "key-changes/0000000001";

  /** A change that the old key signed, in the log of another history. */
  async function changeElsewhere(to: SigningKey): Promise<string> {
    const other = new TestElection().grow(10, "fork");
    const note = signKeyChange(other.id, signer(TEST_KEY), signer(to));
    other.append(encodeEntry(eventEntry(note)));
    const { size, root } = other.head();
    const fetch = (path: string) => other.get(`${other.id}/${path}`);
    const proof = await new TileReader({ fetch, size: treeSize(size), root }).inclusionProof(10);
    const text = formatCheckpoint({ origin: signer(to).name, size: treeSize(size), root });
    return keyChangeFile({ note, index: 10, proof, checkpoint: signNote(text, [signer(to)]) });
  }

  beforeEach(async () => {
    await log.publish(300);
    await look();
    await log.changeKey(next);
  });

  test("is followed, by whoever knows the first key or the next one", async () => {
    expect((await look()).alerts).toEqual([]);
    await log.publish(500);
    const logKey = signer(next).verifierKey;
    expect(await look({ logKey })).toMatchObject({ alerts: [], seen: { size: 500 } });
    await expectAlert({ kind: "manifest" }, { logKey: signer(thief).verifierKey });
  });

  test("is not what it was when the change is gone", async () => {
    await look();
    await rm(log.file(CHANGE));
    await expectAlert({ kind: "key", object: CHANGE, message: "is not there any more" });
  });

  test("cannot be taken over by a thief of the old key, who extends it under a key of their own", async () => {
    await look();
    const { text } = parseNote(await readFile(log.file("checkpoint")));
    await log.edit("checkpoint", () => signNote(text, [signer(thief)]));
    const forged = await changeElsewhere(thief);
    await log.edit(CHANGE, () => forged);
    await expectAlert({ kind: "key", object: CHANGE, message: "is another change than was seen before" });
    // Nor before somebody who has seen nothing yet.
    const fresh = join(log.directories.root, "fresh");
    state = new MonitorState({ files: resources.use(await DurableFiles.open({ root: fresh })) });
    await expectAlert({ kind: "key", object: CHANGE, message: expect.stringContaining("consistency proof") });
  });

  test("has no change that the old key did not sign", async () => {
    await log.edit(CHANGE, (bytes) => flipBit(bytes, 8 * 60));
    await expectAlert({ kind: "key" });
  });
});

describe("compared with what others saw", () => {
  test("the same history is well, at any size, as is one who has seen nothing", async () => {
    const mirror = await PublishedLog.start();
    await log.publish(300);
    expect((await look({ others: others(mirror.url) })).alerts).toEqual([]);
    for (const size of [100, 300]) {
      await mirror.publish(size);
      expect((await look({ others: others(mirror.url) })).alerts).toEqual([]);
    }
  });

  test("another history is a fork, whoever is ahead", async () => {
    const fork = new TestElection();
    fork.grow(50, "fork");
    const mirror = await PublishedLog.start(fork);
    await log.publish(300);
    await look();
    for (const size of [200, 300]) {
      await mirror.publish(size);
      await expectAlert({ kind: "fork", object: mirror.url }, { others: others(mirror.url) });
    }
    await mirror.publish(400);
    await log.publish(500);
    expect((await look({ others: others(mirror.url) })).alerts).toMatchObject([{ kind: "fork" }]);
  });

  test("one who is ahead is waited for; a log that does not follow is rolled back", async () => {
    const mirror = await PublishedLog.start();
    await log.publish(300);
    await mirror.publish(400);
    const clock = {
      nowMicros: () => now,
      sleep: async () => {
        await log.publish(400);
      },
    };
    expect((await look({ others: others(mirror.url), clock })).alerts).toEqual([]);
    await mirror.publish(500);
    expect((await look({ others: others(mirror.url), patienceMs: 0 })).alerts).toMatchObject([
      { kind: "rollback" },
    ]);
  });

  test("one who is away is told apart, and holds up nothing", async () => {
    await log.publish(300);
    const away = "http://127.0.0.1:1";
    const { seen, alerts } = await look({ others: others(away) });
    expect(seen?.size).toBe(300);
    expect(alerts).toMatchObject([{ kind: "unreachable", object: away }]);
  });
});

test.each([
  ["truncated", () => "{"],
  ["without a shard", (state: string) => state.replace(/"heads":\[\{[^}]*\},/, '"heads":[')],
  ["without a member", (state: string) => state.replace(/,"since":[0-9]+/, "")],
])("a broken state is an error, and never a new beginning: %s", async (_, change) => {
  await log.publish(300);
  await look();
  const file = join(folder, "state.json");
  await writeFile(file, change(await readFile(file, "utf8")));
  await log.publish(400);
  await expect(look()).rejects.toThrow("the monitor's own state");
});

test("a webhook is told when alerts come and when they are over, and again what it did not take", async () => {
  const told: unknown[] = [];
  let status = 200;
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    if (status === 200) told.push(JSON.parse(body));
    response.writeHead(status).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  resources.defer(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const logger = createLogger({ service: "monitor", level: "silent" });
  const webhook = new Webhook({ url, logger });
  const stall = (seconds: number): Alert => ({ kind: "stall", message: `for ${seconds} seconds` });
  await webhook.tell("log", []);
  status = 500;
  await webhook.tell("log", [stall(1)]);
  status = 200;
  for (const seconds of [2, 3]) await webhook.tell("log", [stall(seconds)]);
  await webhook.tell("log", []);
  expect(told).toEqual([
    { log: "log", alerts: [stall(2)] },
    { log: "log", alerts: [] },
  ]);
});

test("metrics tell of the newest look", async () => {
  const metrics = new Metrics({ service: "monitor" });
  const gauges = new MonitorMetrics(metrics);
  gauges.record({ seen: undefined, alerts: [{ kind: "fork", message: "" }] }, 7);
  expect(await metrics.render()).toMatch(/psephos_monitor_alerts\{kind="fork".*\} 1\n/);
  gauges.record({ seen: undefined, alerts: [] }, 8);
  expect(await metrics.render()).toMatch(/psephos_monitor_alerts\{kind="fork".*\} 0\n/);
});

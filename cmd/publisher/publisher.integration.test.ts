// The process as it is deployed: gRPC over mutual TLS on one side, public HTTP on the other, AuditService's tile store
// on disk between them.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Client, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevelopmentCa } from "../../deploy/local/dev-ca.ts";
import { tether } from "../../deploy/local/reaper.ts";
import { NODE_FLAGS } from "../../deploy/local/service-process.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { encodeEntry } from "../../internal/ballot/entry.ts";
import { grpcTls, type TlsFiles } from "../../internal/config/fields.ts";
import { type ElectionId, electionId } from "../../internal/core/ids.ts";
import { eventEntry } from "../../internal/evidence/event.ts";
import { followKeyChange } from "../../internal/evidence/key-change.ts";
import { waitForHealthy } from "../../internal/grpc/health-client.ts";
import { createGrpcTransport } from "../../internal/grpc/transport.ts";
import type { OfferedHead } from "../../internal/publisher/log-publisher.ts";
import { SigningKey } from "../../internal/publisher/signing-key.ts";
import { TestElection } from "../../internal/publisher/test-election.ts";
import { Outsider } from "../../internal/publisher/test-outsider.ts";
import { createLogger } from "../../internal/telemetry/logger.ts";
import { openCheckpoint } from "../../internal/tlog/checkpoint.ts";
import { LogKeys } from "../../internal/tlog/log-keys.ts";
import { parseNote } from "../../internal/tlog/note.ts";
import { NoteVerifier } from "../../internal/tlog/note-verifier.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import { putAll } from "../../internal/worm/put-all.ts";

const TRUST_DOMAIN = "psephos.local";
const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const logger = createLogger({ service: "test", level: "silent" });
const resources = new AsyncDisposableStack();

let folder: string;
let ca: DevelopmentCa;
let key: SigningKey;
let tiles: DirectoryStore;

beforeAll(async () => {
  folder = resources.use(await TemporaryFolder.create()).path;
  ca = await DevelopmentCa.open(join(folder, "ca"));
  key = await SigningKey.generate(join(folder, "signing.key"));
  tiles = new DirectoryStore({ directory: join(folder, "tiles") });
});

afterAll(() => resources.disposeAsync());

/** A publisher process and what it has logged. */
class PublisherProcess {
  readonly grpc: string;
  readonly http: string;
  readonly metrics: string;
  readonly #child: ChildProcess;
  log = "";

  private constructor(child: ChildProcess, ports: { grpc: number; http: number; metrics: number }) {
    this.#child = child;
    this.grpc = `127.0.0.1:${ports.grpc}`;
    this.http = `http://127.0.0.1:${ports.http}`;
    this.metrics = `http://127.0.0.1:${ports.metrics}/metrics`;
    child.stderr?.on("data", (chunk) => {
      this.log += chunk;
    });
  }

  static async start(changes: object = {}): Promise<PublisherProcess> {
    const ports = { grpc: await freePort(), http: await freePort(), metrics: await freePort() };
    const file = join(folder, `publisher-${ports.grpc}.json`);
    const config = {
      listen: `127.0.0.1:${ports.grpc}`,
      public_listen: `127.0.0.1:${ports.http}`,
      metrics_listen: `127.0.0.1:${ports.metrics}`,
      tls: await ca.identity("service/publisher"),
      trust_domain: TRUST_DOMAIN,
      log_prefix: TRUST_DOMAIN,
      key_file: join(folder, "signing.key"),
      state_directory: join(folder, "state"),
      public_directory: join(folder, "public"),
      tiles: { directory: join(folder, "tiles") },
      ...changes,
    };
    await writeFile(file, JSON.stringify(config));
    const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, "--config", file], {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    });
    if (child.pid !== undefined) child.once("exit", tether(child.pid, "TERM"));
    return new PublisherProcess(child, ports);
  }

  async healthy(): Promise<this> {
    await waitForHealthy({
      address: this.grpc,
      tls: grpcTls(await ca.identity("client/test")),
      trustDomain: TRUST_DOMAIN,
      expectedServer: "service/publisher",
      timeoutMs: 30_000,
    });
    return this;
  }

  /** A client with somebody's certificate. */
  client(tls: TlsFiles): Client<typeof DigestService> & AsyncDisposable {
    const transport = createGrpcTransport({
      address: this.grpc,
      tls: grpcTls(tls),
      trustDomain: TRUST_DOMAIN,
      expectedServer: "service/publisher",
      logger,
    });
    const client = createClient(DigestService, transport);
    return Object.assign(client, { [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose]() });
  }

  async stop(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.exited();
  }

  /** Resolves to the exit code, which is null after a signal. */
  async exited(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "close");
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // not a pipe
  server.close();
  await once(server, "close");
  return port;
}

let elections = 0;
function newElection(): TestElection {
  const election = electionId(`election-${++elections}`);
  return new TestElection({ election, logKey: key.signerFor(TRUST_DOMAIN, election).verifierKey });
}

/** Writes the tiles of a log's present size where the publisher finds them. */
async function request(log: TestElection) {
  const head = log.head();
  await putAll(
    tiles,
    [...log.objects].map(([key, body]) => ({ key, body })),
  );
  log.objects.clear();
  return submission(log.id, head);
}

function submission(electionId: ElectionId, { size, ...head }: OfferedHead) {
  return { electionId, treeSize: BigInt(size), ...head };
}

function outsiderOf(log: TestElection, http: string): Outsider {
  return new Outsider({
    logKey: log.logKey,
    fetch: (path) => fetchFile(`${http}/${log.id}/${path}`),
  });
}

async function fetchFile(url: string): Promise<Buffer | undefined> {
  const response = await fetch(url);
  if (response.status === 404) return undefined;
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

test("signs what AuditService submits, shows it to everybody, and refuses a fork", async () => {
  await using publisher = await (await PublisherProcess.start()).healthy();
  await using audit = publisher.client(await ca.identity("service/audit-service"));
  const log = newElection();
  const electionId = log.id;
  const outsider = outsiderOf(log, publisher.http);

  for (const size of [1, 257, 10_000]) {
    const { note } = await audit.submitHead(await request(log.grow(size)));
    outsider.see(note);
    expect(await outsider.check()).toBe(size);
    expect(await audit.getLatestCheckpoint({ electionId })).toMatchObject({ note });
  }
  const again = submission(electionId, log.head());
  const { note } = await audit.submitHead(again);
  expect(await audit.getCheckpoint({ electionId, number: 1n })).toMatchObject({ note });
  const { manifest } = await audit.getManifest({ electionId });
  expect(Buffer.from(manifest).equals(log.manifest)).toBe(true);
  expect(await audit.getLogKey({ electionId })).toMatchObject({ verifierKey: log.logKey });

  const forked = audit.submitHead({ ...again, root: new Uint8Array(32) });
  await expect(forked).rejects.toMatchObject({ kind: "data-loss", reason: "FORKED_HEAD" });
  // What a process writes comes over a pipe, the answer over a socket.
  await expect.poll(() => publisher.log).toContain('"level":"fatal"');
  const metrics = await (await fetch(publisher.metrics)).text();
  expect(metrics).toMatch(/heads_refused_total\{.*FORKED_HEAD.*\} 1/);
  expect(metrics).toMatch(/heads_signed_total\{.*\} 3/);
  expect(metrics).toMatch(/entries_signed_total\{.*\} 10000/);
  expect(await publisher.stop("SIGTERM")).toBe(0);
});

test("lets anybody in the mesh watch over gRPC, and proves what was asked", async () => {
  await using publisher = await (await PublisherProcess.start()).healthy();
  await using audit = publisher.client(await ca.identity("service/audit-service"));
  await using reader = publisher.client(await ca.identity("client/a"));
  const log = newElection();
  const electionId = log.id;
  const { note: first } = await audit.submitHead(await request(log.grow(300)));
  const stop = new AbortController();
  const watch = reader.watch({ electionId }, { signal: stop.signal })[Symbol.asyncIterator]();
  expect((await watch.next()).value).toMatchObject({ note: first });
  const { note: second } = await audit.submitHead(await request(log.grow(400)));
  expect((await watch.next()).value).toMatchObject({ note: second });
  stop.abort();
  await expect(watch.next()).rejects.toMatchObject({ kind: "cancelled" });

  const inclusion = await reader.getInclusionProof({ electionId, index: 299n, treeSize: 300n });
  expect(inclusion).toMatchObject({ treeSize: 300n, note: second });
  const { proof } = await reader.getConsistencyProof({ electionId, first: 300n });
  expect(proof.length).toBeGreaterThan(0);
  const wrong = reader.getInclusionProof({ electionId, index: 400n });
  await expect(wrong).rejects.toMatchObject({
    kind: "invalid-argument",
    fields: [expect.objectContaining({ field: "index" })],
  });
  await expect(reader.watch({ electionId: "other" })[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    kind: "not-found",
  });
});

test("takes a log from its key to the next one, and refuses it with the wrong one", async () => {
  const [next, nextFile] = [join(folder, "next.key"), { next_key_file: join(folder, "next.key") }];
  const nextKey = await SigningKey.generate(next);
  const log = newElection();
  const electionId = log.id;
  const auditor = await ca.identity("service/audit-service");
  {
    await using publisher = await (await PublisherProcess.start(nextFile)).healthy();
    await using audit = publisher.client(auditor);
    const { keyChange } = await audit.submitHead(await request(log.grow(300)));
    log.append(encodeEntry(eventEntry(keyChange)));
    const answer = await audit.submitHead(await request(log.grow(310)));
    expect(answer.keyChange).toBe("");
    const response = await fetch(`${publisher.http}/${electionId}/key-changes/0000000001`);
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    const keys = followKeyChange(
      new LogKeys(NoteVerifier.parse(log.logKey)),
      new Uint8Array(await response.arrayBuffer()),
    );
    openCheckpoint({ note: answer.note, log: keys });
    const { verifierKey } = await audit.getLogKey({ electionId });
    expect(verifierKey).toBe(nextKey.signerFor(TRUST_DOMAIN, electionId).verifierKey);
  }
  {
    await using publisher = await (await PublisherProcess.start()).healthy();
    await using audit = publisher.client(auditor);
    const refused = audit.submitHead(await request(log.grow(320)));
    await expect(refused).rejects.toMatchObject({ kind: "unavailable", reason: "KEY_MISSING" });
  }
  await using publisher = await (await PublisherProcess.start({ key_file: next })).healthy();
  await using audit = publisher.client(auditor);
  const { note } = await audit.submitHead(await request(log));
  expect(parseNote(note).signatures).toHaveLength(1);
});

test("lets nobody but AuditService submit, and everybody read", async () => {
  await using publisher = await (await PublisherProcess.start()).healthy();
  await using audit = publisher.client(await ca.identity("service/audit-service"));
  const log = newElection();
  const head = await request(log.grow(10));
  for (const who of ["service/publisher", "service/vote-service", "operator/a", "client/a", "auditor/a"]) {
    await using other = publisher.client(await ca.identity(who));
    await expect(other.submitHead(head)).rejects.toMatchObject({ kind: "permission-denied" });
    await expect(other.getManifest({ electionId: log.id })).rejects.toMatchObject({ kind: "not-found" });
  }
  const { note } = await audit.submitHead(head);
  await using anyone = publisher.client(await ca.identity("auditor/a"));
  expect(await anyone.getLatestCheckpoint({ electionId: log.id })).toMatchObject({ note });
});

describe("a request that is wrong", () => {
  test("is answered with the field", async () => {
    await using publisher = await (await PublisherProcess.start()).healthy();
    await using audit = publisher.client(await ca.identity("service/audit-service"));
    const log = newElection();
    const right = await request(log.grow(10));
    const wrong = [
      ["election_id", { electionId: "../x" }],
      ["tree_size", { treeSize: 0n }],
      ["tree_size", { treeSize: 2n ** 63n }],
      ["root", { root: new Uint8Array(31) }],
      ["manifest", { manifest: new Uint8Array() }],
      ["ends_block", { endsBlock: true }],
    ] as const;
    for (const [field, change] of wrong) {
      const refusal = { kind: "invalid-argument", fields: [expect.objectContaining({ field })] };
      await expect(audit.submitHead({ ...right, ...change })).rejects.toMatchObject(refusal);
    }
    const missing = audit.submitHead({ ...right, treeSize: 11n });
    await expect(missing).rejects.toMatchObject({ kind: "unavailable", retryDelayMs: 200 });
    await expect(audit.getLatestCheckpoint({ electionId: log.id })).rejects.toMatchObject({
      kind: "not-found",
    });
    await audit.submitHead(right);
  });
});

test("survives being killed at any moment, without a second root for any size", {
  timeout: 180_000,
}, async () => {
  const log = newElection();
  const tls = await ca.identity("service/audit-service");
  let outsider: Outsider | undefined;
  let size = 0;
  let signed = 0;
  for (let life = 1; life <= 8; life++) {
    await using publisher = await (await PublisherProcess.start()).healthy();
    await using audit = publisher.client(tls);
    outsider ??= outsiderOf(log, publisher.http);
    outsider.moveTo((path) => fetchFile(`${publisher.http}/${log.id}/${path}`));
    await outsider.check();
    let alive = true;
    const offers = (async () => {
      while (alive) {
        const next = Math.min(size + 97, 10_000);
        const head = await request(log.grow(next));
        const note = await audit.submitHead(head).then(
          (response) => response.note,
          () => undefined,
        );
        // Without an answer it may be signed or not. AuditService goes on, from what it has committed.
        size = next;
        if (note === undefined) continue;
        outsider.see(note);
        signed += 1;
      }
    })();
    await delay(200 + 150 * life);
    await publisher.stop("SIGKILL");
    alive = false;
    await offers;
  }
  expect(signed).toBeGreaterThan(20);
  await using publisher = await (await PublisherProcess.start()).healthy();
  await using audit = publisher.client(tls);
  outsider?.moveTo((path) => fetchFile(`${publisher.http}/${log.id}/${path}`));
  await audit.submitHead(await request(log.grow(size + 1)));
  expect(await outsider?.check()).toBe(size + 1);
});

describe("does not start", () => {
  test("while another has its state, and the other goes on", async () => {
    await using first = await (await PublisherProcess.start()).healthy();
    await using second = await PublisherProcess.start();
    expect(await second.exited()).toBe(1);
    expect(second.log).toContain("another process is writing to");
    await using audit = first.client(await ca.identity("service/audit-service"));
    await audit.submitHead(await request(newElection().grow(10)));
  });

  test("with a key that others can read", async () => {
    const leaked = join(folder, "leaked.key");
    await SigningKey.generate(leaked);
    await chmod(leaked, 0o644);
    await using publisher = await PublisherProcess.start({ key_file: leaked });
    expect(await publisher.exited()).toBe(1);
    expect(publisher.log).toContain("has mode 0644");
  });

  test("with mistakes in its configuration", async () => {
    await using publisher = await PublisherProcess.start({ log_prefix: "a b", tiles: undefined, sate: "x" });
    expect(await publisher.exited()).toBe(2);
    for (const path of ["log_prefix", "tiles", "sate"]) expect(publisher.log).toContain(path);
  });
});

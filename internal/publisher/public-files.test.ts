// Every file of a closed log over the real server: its type, caching, compression and parts.
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeEntry } from "../ballot/entry.ts";
import { fromBase64, toBase64 } from "../core/bytes.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { PublicHttpServer } from "./public-http.ts";
import { TestElection } from "./test-election.ts";
import { TestDirectories, testClientLimits } from "./test-publisher.ts";

const FOR_GOOD = "public, max-age=604800, immutable";
const BRIEFLY = "public, max-age=1";
const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
const BYTES = "application/octet-stream";

const resources = new AsyncDisposableStack();
const election = new TestElection();
let directories: TestDirectories;
let server: PublicHttpServer;
let seconds = 1_800_000_000;

beforeAll(async () => {
  directories = resources.use(await TestDirectories.create({ inMemory: true }));
  const clock = { nowMicros: () => seconds * 1e6, sleep: async () => {} };
  const publisher = resources.use(await directories.open(election, { clock }));
  for (const size of [20, 300, 10_000, 10_300]) {
    await publisher.submit(election.id, election.grow(size).head());
    seconds += 60;
  }
  await publisher.submit(election.id, election.close().head());
  server = resources.use(
    await PublicHttpServer.listen({
      files: publisher,
      host: "127.0.0.1",
      port: 0,
      procedures: { has: () => false, serve: async () => {} },
      logger: directories.logger,
      metrics: directories.publisherMetrics,
      clients: testClientLimits(),
    }),
  );
});

afterAll(() => resources.disposeAsync());

/** fetch decompresses; this does not. */
async function get(path: string, headers: Record<string, string> = {}, method = "GET") {
  const sent = httpRequest(server.url, { path, method, agent: false, headers });
  const [response] = await once(sent.end(), "response");
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) };
}

const log = "/vermont-2020";
/** Path, type, caching, and whether it is text that is large enough to be compressed. */
const FILES = [
  ["/index.json", JSON_TYPE, BRIEFLY, false],
  ["/", JSON_TYPE, BRIEFLY, false],
  [`${log}/checkpoint`, TEXT, BRIEFLY, false],
  [`${log}/checkpoints/0000000001`, TEXT, FOR_GOOD, false],
  [`${log}/checkpoints/0000000002`, TEXT, FOR_GOOD, false],
  [`${log}/manifest.json`, JSON_TYPE, FOR_GOOD, false],
  [`${log}/log.json`, JSON_TYPE, BRIEFLY, false],
  [`${log}/closing.json`, JSON_TYPE, BRIEFLY, true],
  [`${log}/history.json`, JSON_TYPE, BRIEFLY, false],
  [`${log}/tile/0/000`, BYTES, FOR_GOOD, false],
  [`${log}/tile/1/000.p/40`, BYTES, FOR_GOOD, false],
  [`${log}/tile/entries/000`, BYTES, FOR_GOOD, false],
  // Of every size that had a checkpoint.
  [`${log}/tile/0/000.p/20`, BYTES, FOR_GOOD, false],
  [`${log}/tile/entries/000.p/20`, BYTES, FOR_GOOD, false],
  [`${log}/tile/entries/001.p/44`, BYTES, FOR_GOOD, false],
  [`${log}/tile/entries/039.p/16`, BYTES, FOR_GOOD, false],
  [`${log}/tile/entries/040.p/61`, BYTES, FOR_GOOD, false],
] as const;

describe.each(FILES)("%s", (path, type, caching, compressed) => {
  const onDisk = async () => (await directories.file(path === "/" ? "index.json" : path)) ?? Buffer.alloc(0);

  test("has its type, its caching and its bytes", async () => {
    const { status, headers, body } = await get(path);
    expect(status).toBe(200);
    expect(body.length).toBeGreaterThan(0);
    expect(body.equals(await onDisk())).toBe(true);
    expect(headers).toMatchObject({
      "content-type": type,
      "content-length": String(body.length),
      "cache-control": caching,
      "access-control-allow-origin": "*",
      "x-content-type-options": "nosniff",
      "accept-ranges": "bytes",
      "last-modified": expect.stringMatching(/GMT$/),
      etag: expect.stringMatching(/^"[0-9a-f]{32}"$/),
    });
    expect(headers["content-encoding"]).toBeUndefined();
  });

  test("is compressed only where that is worth it, and only for those who take it", async () => {
    const zipped = await get(path, { "Accept-Encoding": "br, gzip;q=0.5" });
    expect(zipped.headers["content-encoding"]).toBe(compressed ? "gzip" : undefined);
    expect(zipped.headers.vary).toBe(compressed ? "Accept-Encoding" : undefined);
    expect(zipped.headers["content-length"]).toBe(String(zipped.body.length));
    const bytes = compressed ? gunzipSync(zipped.body) : zipped.body;
    expect(bytes.equals(await onDisk())).toBe(true);
    for (const refused of ["identity", "gzip;q=0", "gzip;q=0.000, *;q=1", "*;q=0", ""]) {
      const plain = await get(path, { "Accept-Encoding": refused });
      expect(plain.headers["content-encoding"]).toBeUndefined();
      expect(plain.headers.etag === zipped.headers.etag).toBe(!compressed);
    }
    const { etag = "" } = zipped.headers;
    const again = await get(path, { "Accept-Encoding": "gzip", "If-None-Match": etag });
    expect(again).toMatchObject({ status: 304, headers: { etag, "cache-control": caching } });
    expect(again.headers.vary).toBe(zipped.headers.vary);
  });

  test("HEAD has the head of GET, compressed or not", async () => {
    for (const headers of [{}, { "Accept-Encoding": "gzip" }] as Record<string, string>[]) {
      const [of, head] = [await get(path, headers), await get(path, headers, "HEAD")];
      expect(head.body.length).toBe(0);
      expect({ ...head.headers, date: "" }).toEqual({ ...of.headers, date: "" });
    }
  });

  test("is served in parts", async () => {
    const whole = await onDisk();
    const size = whole.length;
    const etag = (await get(path)).headers.etag ?? "";
    const parts = [
      ["bytes=0-0", 0, 0],
      ["bytes=5-9", 5, 9],
      ["bytes=10-", 10, size - 1],
      ["bytes=-7", size - 7, size - 1],
      [`bytes=3-${size + 100}`, 3, size - 1],
      [`bytes=-${size + 100}`, 0, size - 1],
    ] as const;
    for (const [range, first, last] of parts) {
      const part = await get(path, { Range: range, "Accept-Encoding": "gzip" });
      expect(part.status).toBe(206);
      expect(part.body.equals(whole.subarray(first, last + 1))).toBe(true);
      expect(part.headers["content-range"]).toBe(`bytes ${first}-${last}/${size}`);
      expect(part.headers).toMatchObject({ etag, "content-length": String(last - first + 1) });
    }
    for (const range of [`bytes=${size}-`, "bytes=999999999-", "bytes=-0"]) {
      const refused = await get(path, { Range: range });
      expect(refused.status).toBe(416);
      expect(refused.headers).toMatchObject({
        "content-range": `bytes */${size}`,
        "cache-control": "no-store",
      });
      expect(refused.headers.etag).toBeUndefined();
    }
    for (const range of [
      "bytes=",
      "bytes=-",
      "bytes=9-5",
      "bytes=0-1,3-4",
      "lines=0-1",
      "bytes=a-b",
      "0-1",
    ]) {
      expect((await get(path, { Range: range })).status).toBe(200);
    }
    expect((await get(path, { Range: "bytes=0-1", "If-Range": etag })).status).toBe(206);
    expect((await get(path, { Range: "bytes=0-1", "If-Range": '"other"' })).status).toBe(200);
    expect((await get(path, { Range: "bytes=0-1" }, "HEAD")).status).toBe(200);
  });
});

test("the index names the elections and the keys of their manifests", async () => {
  const { body } = await get("/index.json");
  expect(JSON.parse(String(body))).toEqual({
    elections: [{ election_id: "vermont-2020", log_key: election.logKey }],
  });
});

test("the description names what a reader needs", async () => {
  const { body } = await get(`${log}/log.json`);
  expect(JSON.parse(String(body))).toMatchObject({
    format: "psephos/log/v1",
    election_id: "vermont-2020",
    origin: "psephos.test/vermont-2020",
    manifest_hash: Buffer.from(election.manifestHash).toString("hex"),
    log_key: election.logKey,
    size_unit: "entries",
    block_size: 10_000,
    maximum_delay_s: 60,
    endpoints: { checkpoint: "checkpoint", manifest: "manifest.json", closing: "closing.json" },
  });
});

test("the closing report says what the log's last entry says", async () => {
  const report = JSON.parse(String((await get(`${log}/closing.json`)).body));
  const { checkpoint } = openCheckpoint({
    note: report.checkpoint.note,
    log: NoteVerifier.parse(election.logKey),
  });
  expect(report).toMatchObject({ format: "psephos/closing/v1", total_votes: 10_299, events: 0 });
  expect(report.checkpoint).toMatchObject({ number: 2, size: 10_301, root: toBase64(checkpoint.root) });
  const reader = new TileReader({
    fetch: async (path) => (await get(`${log}/${path}`)).body,
    size: checkpoint.size,
    root: checkpoint.root,
  });
  const entry = await reader.entry(report.entry.index);
  expect(fromBase64(report.entry.bytes)).toEqual(new Uint8Array(entry));
  const closing = decodeEntry(entry);
  expect(closing).toMatchObject({ type: "closing", totalVotes: report.total_votes });
  expect(report.shards.map(({ votes }: { votes: number }) => votes)).toEqual(
    closing.type === "closing" && closing.shardHeads.map(({ sequence }) => sequence),
  );
});

test("the history has what was published when, and says that nobody signed it", async () => {
  const history = JSON.parse(String((await get(`${log}/history.json`)).body));
  expect(history.about).toContain("not signed");
  expect(history.samples).toEqual(
    [20, 300, 10_000, 10_300, 10_301].map((size, index) => [1_800_000_000 + 60 * index, size]),
  );
});

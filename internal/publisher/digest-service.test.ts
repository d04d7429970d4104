// DigestService on the public port, as callers of each kind use it. Over gRPC: cmd/publisher/publisher.integration.test.ts.
import { once } from "node:events";
import { connect } from "node:net";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { asHash } from "../core/sha256.ts";
import { connectErrors } from "../grpc/connect-errors.ts";
import { addressSet } from "../http/client-address.ts";
import { ConnectEdge } from "../http/connect-edge.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyConsistency, verifyInclusion } from "../tlog/proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { type PublisherReads, routeDigestReads, streamCounter } from "./digest-service.ts";
import type { WatchTimes } from "./digest-watch.ts";
import { PublicHttpServer } from "./public-http.ts";
import type { Publisher } from "./publisher.ts";
import { TestElection } from "./test-election.ts";
import { TestDirectories, testClientLimits } from "./test-publisher.ts";

const electionId = "vermont-2020";
let resources: AsyncDisposableStack;
let publisher: Publisher;
let election: TestElection;
let directories: TestDirectories;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  directories = resources.use(await TestDirectories.create({ inMemory: true }));
  election = new TestElection();
  publisher = resources.use(await directories.open(election));
  await submit(300);
});
afterEach(() => resources.disposeAsync());

function submit(size: number): Promise<string> {
  return publisher.submit(election.id, election.grow(size).head());
}

interface Serving {
  readonly watchTimes?: WatchTimes;
  readonly clients?: Parameters<typeof testClientLimits>[0];
  readonly idleMs?: number;
  readonly reading?: PublisherReads;
}

async function serve(serving: Serving = {}): Promise<string> {
  const { watchTimes, clients: changes, idleMs = 20_000, reading = publisher } = serving;
  const { logger, publisherMetrics: metrics } = directories;
  const clients = testClientLimits(changes);
  const openStream = streamCounter(clients);
  const procedures = new ConnectEdge({
    routes: (router) => {
      routeDigestReads(router, { publisher: reading, openStream, ...(watchTimes && { watchTimes }) });
    },
    maxBytes: 4096,
    grpcWeb: true,
    maxTimeoutMs: 60_000,
    errors: connectErrors({ logger }),
  });
  const options = { files: publisher, host: "127.0.0.1", port: 0, procedures, clients, logger, metrics };
  return resources.use(await PublicHttpServer.listen({ ...options, limits: { idleMs } })).url;
}

const sizeOf = ({ note }: { note: string }) =>
  openCheckpoint({ note, log: NoteVerifier.parse(election.logKey) }).checkpoint.size;

const CLIENTS: readonly [string, (baseUrl: string) => Client<typeof DigestService>][] = [
  [
    "Connect",
    (baseUrl) => createClient(DigestService, createConnectTransport({ baseUrl, httpVersion: "1.1" })),
  ],
  [
    "Connect in JSON",
    (baseUrl) =>
      createClient(
        DigestService,
        createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
      ),
  ],
  [
    "gRPC-Web",
    (baseUrl) => createClient(DigestService, createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })),
  ],
];

test("proofs are made one after another, and more than wait are refused", async () => {
  const open = Promise.withResolvers<void>();
  let reads = 0;
  const reading: PublisherReads = {
    heads: (id) => publisher.heads(id),
    newest: (id) => publisher.newest(id),
    logKey: (id) => publisher.logKey(id),
    read: async (path) => {
      reads++;
      await open.promise;
      return publisher.read(path);
    },
  };
  const baseUrl = await serve({ reading });
  const client = createClient(DigestService, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
  const asked = Array.from({ length: 65 }, (_, i) =>
    client.getInclusionProof({ electionId, index: BigInt(i) }),
  );
  await expect(Promise.race(asked)).rejects.toMatchObject({ code: Code.ResourceExhausted });
  // Of the first one: the bundle, its tile and those of the right edge.
  expect(reads).toBeLessThan(6);
  open.resolve();
  const answers = await Promise.allSettled(asked);
  expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(64);
  expect(await client.getInclusionProof({ electionId })).toMatchObject({ treeSize: 300n });
});

test("a call counts as ten requests", async () => {
  const baseUrl = await serve({ clients: { burst: 25, requestsPerSecond: 0.001, exempt: addressSet([]) } });
  const client = createClient(DigestService, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
  await client.getLatestCheckpoint({ electionId });
  await client.getLatestCheckpoint({ electionId });
  // What Connect makes of a 429 (connectrpc.com/docs/protocol, "HTTP to Error Code").
  await expect(client.getLatestCheckpoint({ electionId })).rejects.toMatchObject({ code: Code.Unavailable });
  expect((await fetch(`${baseUrl}/${electionId}/checkpoint`)).status).toBe(200);
});

describe.each(CLIENTS)("over %s", (_, clientOf) => {
  test("entries and growth are proved, at the newest size and at older ones", async () => {
    const client = clientOf(await serve());
    for (const [index, size] of [
      [0, 0],
      [299, 0],
      [7, 8],
      [255, 257],
    ] as const) {
      const { entry, treeSize, root, proof, note } = await client.getInclusionProof({
        electionId,
        index: BigInt(index),
        treeSize: BigInt(size),
      });
      expect([Number(treeSize), sizeOf({ note })]).toEqual([size || 300, 300]);
      const path = proof.map(asHash);
      verifyInclusion({
        leaf: leafHash(entry),
        index,
        size: Number(treeSize),
        proof: path,
        root: asHash(root),
      });
    }
    for (const [first, second] of [
      [1, 0],
      [300, 300],
      [256, 299],
    ] as const) {
      const answer = await client.getConsistencyProof({
        electionId,
        first: BigInt(first),
        second: BigInt(second),
      });
      verifyConsistency({
        oldSize: first,
        oldRoot: asHash(answer.firstRoot),
        newSize: Number(answer.second),
        newRoot: asHash(answer.secondRoot),
        proof: answer.proof.map(asHash),
      });
      expect(Number(answer.second)).toBe(second || 300);
    }
  });

  test("what cannot be proved is refused with its field", async () => {
    const client = clientOf(await serve());
    const [big, id] = [2n ** 64n - 1n, { electionId }];
    const refused = [
      [client.getInclusionProof({ ...id, index: 300n }), Code.InvalidArgument, "index"],
      [client.getInclusionProof({ ...id, index: 8n, treeSize: 8n }), Code.InvalidArgument, "index"],
      [client.getInclusionProof({ ...id, index: big }), Code.InvalidArgument, "index"],
      [client.getInclusionProof({ ...id, treeSize: 301n }), Code.InvalidArgument, "tree_size"],
      [client.getInclusionProof({ ...id, treeSize: big }), Code.InvalidArgument, "tree_size"],
      [client.getInclusionProof({ electionId: "../x" }), Code.InvalidArgument, "election_id"],
      [client.getInclusionProof({ electionId: "other" }), Code.NotFound, "other"],
      [client.getConsistencyProof({ ...id, first: 0n }), Code.InvalidArgument, "first"],
      [client.getConsistencyProof({ ...id, first: 9n, second: 8n }), Code.InvalidArgument, "first"],
      [client.getConsistencyProof({ ...id, first: 1n, second: big }), Code.InvalidArgument, "second"],
      [client.getConsistencyProof({ electionId: "other" }), Code.NotFound, "other"],
    ] as const;
    for (const [call, code, text] of refused) {
      const error = await call.catch((error: unknown) => error);
      expect(error).toMatchObject({ code });
      expect(ConnectError.from(error).rawMessage).toContain(text);
    }
  });

  test("a watcher gets the newest checkpoint, then each newer one, then signs of life", async () => {
    const client = clientOf(await serve({ watchTimes: { heartbeatMs: 50, lastsMs: 60_000 } }));
    const stop = new AbortController();
    const watch = client.watch({ electionId }, { signal: stop.signal })[Symbol.asyncIterator]();
    const next = async () => sizeOf((await watch.next()).value);
    expect(await next()).toBe(300);
    expect(await next()).toBe(300);
    for (const size of [310, 320, 600]) {
      await submit(size);
      let seen = await next();
      while (seen < size) seen = await next();
      expect(seen).toBe(size);
    }
    stop.abort();
    // Signs of life may be here already.
    const rest = (async () => {
      while (!(await watch.next()).done);
    })();
    await expect(rest).rejects.toMatchObject({ code: Code.Canceled });
  });

  test("a watch ends when its time is over, and says so", async () => {
    const client = clientOf(await serve({ watchTimes: { heartbeatMs: 10_000, lastsMs: 100 } }));
    const ended = (async () => {
      for await (const { note } of client.watch({ electionId })) expect(sizeOf({ note })).toBe(300);
    })();
    await expect(ended).rejects.toMatchObject({ code: Code.Unavailable });
  });

  test("of an election that has nothing there is nothing to watch", async () => {
    const client = clientOf(await serve());
    const watch = (id: string) => client.watch({ electionId: id })[Symbol.asyncIterator]().next();
    await expect(watch("other")).rejects.toMatchObject({ code: Code.NotFound });
    await expect(watch("Other")).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe("watchers", () => {
  test("are as many as one may have, and when one leaves there is room again", async () => {
    const limits = { exempt: addressSet([]), streams: 3, streamsPerClient: 2 };
    const url = await serve({ clients: limits });
    const client = createClient(DigestService, createConnectTransport({ baseUrl: url, httpVersion: "1.1" }));
    const open = async () => {
      const stop = new AbortController();
      const watch = client.watch({ electionId }, { signal: stop.signal })[Symbol.asyncIterator]();
      await watch.next();
      return stop;
    };
    const [first, second] = [await open(), await open()];
    const third = await open().catch((error: unknown) => error);
    expect(third).toMatchObject({ code: Code.ResourceExhausted });
    expect(ConnectError.from(third).rawMessage).toContain("too many streams from your address");
    first.abort();
    await expect
      .poll(() =>
        open().then(
          (stop) => {
            stop.abort();
            return "open";
          },
          () => "refused",
        ),
      )
      .toBe("open");
    second.abort();
  });

  test("who do not read are hung up on, and hold up neither the log nor the others", async () => {
    const url = await serve({ watchTimes: { heartbeatMs: 1, lastsMs: 60_000 }, idleMs: 300 });
    const body = Buffer.from(JSON.stringify({ electionId }));
    const frame = Buffer.concat([Buffer.of(0, 0, 0, 0, body.length), body]);
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.on("error", () => {}).pause();
    socket.write(
      "POST /psephos.digest.v1.DigestService/Watch HTTP/1.1\r\nHost: a\r\n" +
        `Content-Type: application/connect+json\r\nContent-Length: ${frame.length}\r\n\r\n`,
    );
    socket.write(frame);
    const client = createClient(DigestService, createConnectTransport({ baseUrl: url, httpVersion: "1.1" }));
    const watch = client.watch({ electionId })[Symbol.asyncIterator]();
    await submit(310);
    while (sizeOf((await watch.next()).value) < 310);
    await watch.return?.();
    // That the server has hung up shows in writing.
    const prod = setInterval(() => socket.write("x"), 50);
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(prod);
  }, 30_000);
});

// The process as it is deployed, over TLS. Its edges, its client of ShardRouter and its configuration are the real
// ones; at the other end of the mesh is a ShardRouter in memory.
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { Agent, type RequestOptions, request } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevelopmentCa } from "../../deploy/local/dev-ca.ts";
import { tether } from "../../deploy/local/reaper.ts";
import { NODE_FLAGS } from "../../deploy/local/service-process.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import {
  AppendOutcome,
  AppendResponseSchema,
  ShardRouterService,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService, ElectionState } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import {
  CastVoteRequestSchema,
  type CastVotesRequest,
  CastVotesRequestSchema,
  type CastVotesResponse,
  VoteService,
  VoteStatus,
} from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { encodeManifest } from "../../internal/ballot/manifest.ts";
import { testManifest } from "../../internal/ballot/test-manifest.ts";
import { grpcTls, type TlsFiles } from "../../internal/config/fields.ts";
import { ServiceError } from "../../internal/core/errors.ts";
import { electionId } from "../../internal/core/ids.ts";
import { waitForHealthy } from "../../internal/grpc/health-client.ts";
import { GrpcServer } from "../../internal/grpc/server.ts";
import { createGrpcTransport } from "../../internal/grpc/transport.ts";
import { shardRouterCallers } from "../../internal/shard/callers.ts";
import { createLogger } from "../../internal/telemetry/logger.ts";
import { TestShardRouter } from "../../internal/vote/test-shard-router.ts";

const TRUST_DOMAIN = "psephos.local";
const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));
const logger = createLogger({ service: "test", level: "silent" });
const resources = new AsyncDisposableStack();

const router = new TestShardRouter();
let folder: string;
let ca: DevelopmentCa;
let client: TlsFiles;
let operator: TlsFiles;
let vote: VoteProcess;
let votes: Client<typeof VoteService>;
let elections: Client<typeof ElectionService>;

/** A vote-service process and what it has logged. */
class VoteProcess {
  readonly grpc: string;
  readonly http: number;
  readonly metrics: string;
  readonly #child: ChildProcess;
  log = "";

  private constructor(child: ChildProcess, ports: { grpc: number; http: number; metrics: number }) {
    this.#child = child;
    this.grpc = `127.0.0.1:${ports.grpc}`;
    this.http = ports.http;
    this.metrics = `http://127.0.0.1:${ports.metrics}/metrics`;
    child.stderr?.on("data", (chunk) => {
      this.log += chunk;
    });
  }

  static async start(changes: object = {}): Promise<VoteProcess> {
    const ports = { grpc: await freePort(), http: await freePort(), metrics: await freePort() };
    const file = join(folder, `vote-${ports.grpc}.json`);
    const config = {
      listen: `127.0.0.1:${ports.grpc}`,
      http_listen: `127.0.0.1:${ports.http}`,
      metrics_listen: `127.0.0.1:${ports.metrics}`,
      log_level: "debug",
      tls: await ca.identity("service/vote-service"),
      trust_domain: TRUST_DOMAIN,
      shard_router: `127.0.0.1:${routerPort}`,
      voter_secret_file: join(folder, "voter.secret"),
      ...changes,
    };
    await writeFile(file, JSON.stringify(config));
    const child = spawn(process.execPath, [...NODE_FLAGS, MAIN, "--config", file], {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    });
    if (child.pid !== undefined) child.once("exit", tether(child.pid, "TERM"));
    return new VoteProcess(child, ports);
  }

  async healthy(): Promise<this> {
    await waitForHealthy({
      address: this.grpc,
      tls: grpcTls(client),
      trustDomain: TRUST_DOMAIN,
      expectedServer: "service/vote-service",
      timeoutMs: 30_000,
    });
    return this;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Resolves to the exit code. */
  async exited(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "close");
    return this.#child.exitCode;
  }
}

let routerPort = 0;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // not a pipe
  server.close();
  await once(server, "close");
  return port;
}

function transportTo(process: VoteProcess, tls: TlsFiles) {
  return resources.use(
    createGrpcTransport({
      address: process.grpc,
      tls: grpcTls(tls),
      trustDomain: TRUST_DOMAIN,
      expectedServer: "service/vote-service",
      logger,
    }),
  );
}

beforeAll(async () => {
  folder = resources.use(await TemporaryFolder.create()).path;
  await writeFile(join(folder, "voter.secret"), randomBytes(32).toString("base64"), { mode: 0o600 });
  ca = await DevelopmentCa.open(join(folder, "ca"));
  client = await ca.identity("client/test");
  operator = await ca.identity("operator/test");
  const server = new GrpcServer({
    tls: grpcTls(await ca.identity("service/shard-router")),
    trustDomain: TRUST_DOMAIN,
    logger,
  });
  resources.defer(() => server.stop({ graceMs: 500 }));
  server.addService(ShardRouterService, router, shardRouterCallers);
  routerPort = await server.listen("127.0.0.1:0");

  vote = await VoteProcess.start();
  resources.defer(async () => {
    vote.kill("SIGKILL");
    await vote.exited();
  });
  await vote.healthy();
  votes = createClient(VoteService, transportTo(vote, client));
  elections = createClient(ElectionService, transportTo(vote, operator));
  await elections.createElection({ manifest: encodeManifest(testManifest()) });
});
afterAll(() => resources.disposeAsync());

let voters = 0;
const newVoter = () => `PLANTED-voter-${voters++}`;

function ballot(changes: MessageInitShape<typeof CastVoteRequestSchema> = {}) {
  return create(CastVoteRequestSchema, {
    electionId: "test-1",
    voterId: newVoter(),
    requestId: "PLANTED-request",
    choice: { case: "candidateId", value: "b" },
    ...changes,
  });
}

async function refusalOf(answer: Promise<unknown>): Promise<ServiceError> {
  const error = await answer.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused with a ServiceError", { cause: error });
}

describe("the gRPC edge", () => {
  test("records a vote, answers a retry the same, and refuses a second vote with its reason", async () => {
    const request = ballot();
    const answer = await votes.castVote(request);
    expect(answer).toMatchObject({ status: VoteStatus.RECORDED, revision: 1 });
    expect(answer.recordHash).toHaveLength(32);
    expect(await votes.castVote(request)).toEqual(answer);
    const error = await refusalOf(votes.castVote({ ...request, requestId: "PLANTED-other" }));
    expect([error.kind, error.reason]).toEqual(["already-exists", "ALREADY_VOTED"]);

    const found = await votes.getVote({ electionId: "test-1", voteId: answer.voteId });
    expect(found.vote).toEqual(answer);
  });

  test("names every field that is wrong", async () => {
    const error = await refusalOf(votes.castVote(ballot({ voterId: "", requestId: "x".repeat(257) })));
    expect(error.kind).toBe("invalid-argument");
    expect(error.fields.map(({ field }) => field)).toEqual(["voter_id", "request_id"]);
  });

  test("streams thousands of votes, each answered under its id, double ones refused", async () => {
    async function* requests(stream: number): AsyncGenerator<CastVotesRequest> {
      for (let id = 0; id < 3_000; id++) {
        const again = id % 100 === 99;
        yield create(CastVotesRequestSchema, {
          id: BigInt(id),
          vote: ballot({
            voterId: `PLANTED-${stream}-${again ? id - 1 : id}`,
            requestId: again ? "PLANTED-again" : "PLANTED-first",
          }),
        });
      }
    }
    const before = router.records("test-1").length;
    const answersOf = async (stream: number) => {
      const answers = new Map<bigint, CastVotesResponse["outcome"]>();
      for await (const { id, outcome } of votes.castVotes(requests(stream))) answers.set(id, outcome);
      return [...answers.values()];
    };
    const outcomes = (await Promise.all([answersOf(1), answersOf(2)])).flat();
    expect(outcomes).toHaveLength(6_000);
    // Of a pair in flight at once either may come first, and just one is recorded.
    const refused = outcomes.filter((outcome) => outcome.case === "error");
    expect(refused).toHaveLength(60);
    expect(new Set(refused.map(({ value }) => (value as { code: number }).code))).toEqual(new Set([6])); // ALREADY_EXISTS
    expect(router.records("test-1").length - before).toBe(5_940);
    expect(Math.max(...router.batches.map(({ votes }) => votes.length))).toBeLessThanOrEqual(1_000);
  });

  test("a client that hangs up in the middle of a stream harms nobody else", async () => {
    const controller = new AbortController();
    async function* endless() {
      for (let id = 0n; ; id++) yield { id, vote: ballot() };
    }
    let answers = 0;
    const stream = (async () => {
      for await (const _answer of votes.castVotes(endless(), { signal: controller.signal })) {
        if (++answers === 100) controller.abort();
      }
    })();
    expect((await refusalOf(stream)).kind).toBe("cancelled");
    await votes.castVote(ballot());
  });

  test.each([
    ["an operator does not vote", () => operator, (c: Clients) => c.votes.castVote(ballot())],
    ["a client creates no election", () => client, (c: Clients) => c.elections.createElection({})],
    [
      "a client closes no election",
      () => client,
      (c: Clients) => c.elections.closeElection({ electionId: "test-1" }),
    ],
  ])("%s: PERMISSION_DENIED", async (_name, caller, call) => {
    const transport = transportTo(vote, caller());
    const clients = {
      votes: createClient(VoteService, transport),
      elections: createClient(ElectionService, transport),
    };
    const error = await refusalOf(call(clients));
    expect([error.kind, error.reason]).toEqual(["permission-denied", "CALLER_NOT_ALLOWED"]);
  });

  test("an election is defined, counted and closed", async () => {
    const manifest = encodeManifest(testManifest({ electionId: electionId("short") }));
    const { election } = await elections.createElection({ manifest });
    expect(election).toMatchObject({ electionId: "short", state: ElectionState.OPEN, votes: 0n });
    await votes.castVote(ballot({ electionId: "short" }));
    expect((await elections.closeElection({ electionId: "short" })).election).toMatchObject({
      state: ElectionState.CLOSED,
      votes: 1n,
    });
    expect((await refusalOf(votes.castVote(ballot({ electionId: "short" })))).reason).toBe("CLOSED");
    const { elections: all } = await elections.listElections({});
    expect(all.map(({ electionId }) => electionId)).toContain("short");
  });
});

interface Clients {
  readonly votes: Client<typeof VoteService>;
  readonly elections: Client<typeof ElectionService>;
}

interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function http(
  options: Omit<RequestOptions, "headers"> & { body?: string | Uint8Array; headers?: Record<string, string> },
  tls: TlsFiles | null = client,
): Promise<HttpReply> {
  const { body, ...rest } = options;
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port: vote.http,
        method: "POST",
        path: "/api/v1/votes",
        ca: readFileSync(client.ca),
        ...(tls === null ? {} : { cert: readFileSync(tls.cert), key: readFileSync(tls.key) }),
        agent: new Agent({ keepAlive: false }),
        ...rest,
      },
      async (response) => {
        response.setEncoding("utf8");
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

const JSON_TYPE = { "content-type": "application/json" };
const fields = (changes: object = {}) => ({
  election_id: "test-1",
  voter_id: newVoter(),
  candidate_id: "b",
  ...changes,
});
const post = (body: unknown, headers: Record<string, string> = {}) =>
  http({ body: JSON.stringify(body), headers: { ...JSON_TYPE, ...headers } });

function problemIn(reply: HttpReply) {
  expect(reply.headers["content-type"]).toBe("application/problem+json");
  expect(reply.text).not.toContain("PLANTED");
  const problem = JSON.parse(reply.text);
  expect(problem.status).toBe(reply.status);
  expect(problem.type).toBe("about:blank");
  return problem;
}

describe("REST", () => {
  test("a vote is 201 with its number, and so is its retry", async () => {
    const body = fields();
    const reply = await post(body, { "idempotency-key": "PLANTED-key" });
    expect([reply.status, reply.headers["content-type"]]).toEqual([201, "application/json"]);
    const answer = JSON.parse(reply.text);
    expect(answer).toEqual({ vote_id: expect.any(Number), status: "recorded" });
    expect((await post(body, { "idempotency-key": "PLANTED-key" })).text).toBe(reply.text);
    const { vote: found } = await votes.getVote({ electionId: "test-1", voteId: BigInt(answer.vote_id) });
    expect(found?.status).toBe(VoteStatus.RECORDED);

    const second = await post(body);
    expect(second.status).toBe(409);
    expect(problemIn(second)).toMatchObject({ title: "Conflict", reason: "ALREADY_VOTED" });
  });

  test.each([
    ["not JSON", '{"voter_id":"PLANTED', 400],
    ["not UTF-8", Buffer.from('{"voter_id":"PLANTED\xff"}', "latin1"), 400],
    ["a key twice", '{"voter_id":"PLANTED","voter_id":"b","election_id":"test-1","candidate_id":"a"}', 400],
    ["an unknown key", JSON.stringify(fields({ PLANTED: 1 })), 400],
    ["a missing key", '{"voter_id":"PLANTED"}', 400],
    ["an empty voter id", JSON.stringify(fields({ voter_id: "" })), 400],
    ["a long voter id", JSON.stringify(fields({ voter_id: "PLANTED".repeat(50) })), 400],
    ["a candidate not on the ballot", JSON.stringify(fields({ candidate_id: "PLANTED" })), 400],
    ["an election that is none", JSON.stringify(fields({ election_id: "planted" })), 404],
    ["nothing", "", 400],
    ["more than 8 KiB", JSON.stringify(fields({ voter_id: "PLANTED".repeat(2_000) })), 413],
  ])("%s is refused", async (_name, body, status) => {
    const reply = await http({ body, headers: JSON_TYPE });
    expect(reply.status).toBe(status);
    problemIn(reply);
  });

  test.each([
    ["no type", {}],
    ["another type", { "content-type": "text/plain" }],
    ["another charset", { "content-type": "application/json; charset=latin1" }],
    ["a compressed body", { ...JSON_TYPE, "content-encoding": "gzip" }],
  ])("%s is 415", async (_name, headers) => {
    const reply = await http({ body: JSON.stringify(fields()), headers });
    expect(reply.status).toBe(415);
    problemIn(reply);
  });

  test("other methods are 405 and other paths 404", async () => {
    for (const method of ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      const reply = await http({ method });
      expect([reply.status, reply.headers.allow]).toEqual([405, "POST"]);
      problemIn(reply);
    }
    for (const path of ["/", "/api/v1/votes/", "/api/v1/votes/PLANTED", "/API/v1/votes", "//api/v1/votes"]) {
      const reply = await http({ path });
      expect(reply.status).toBe(404);
      problemIn(reply);
    }
  });

  test("before its opening an election's votes are 409 NOT_OPEN_YET", async () => {
    router.add(testManifest({ electionId: electionId("later"), opensAt: (Date.now() + 3_600_000) * 1_000 }));
    const reply = await post(fields({ election_id: "later" }));
    expect([reply.status, problemIn(reply).reason]).toEqual([409, "NOT_OPEN_YET"]);
  });

  test.each([
    [AppendOutcome.OVERLOADED, 429, "OVERLOADED"],
    [AppendOutcome.UNAVAILABLE, 503, "SHARD_UNAVAILABLE"],
  ])("outcome %i of a shard is %i with Retry-After", async (outcome, status, reason) => {
    const id = electionId(`outcome-${outcome}`);
    router.add(testManifest({ electionId: id }));
    router.onAppend = (appended, record) => {
      if (appended.electionId !== id) return record();
      return create(AppendResponseSchema, { results: appended.votes.map(() => ({ outcome })) });
    };
    const reply = await post(fields({ election_id: id }));
    expect([reply.status, reply.headers["retry-after"]]).toEqual([status, "1"]);
    expect(problemIn(reply).reason).toBe(reason);
  });

  test("who may not vote is 403, and who has no certificate gets no answer at all", async () => {
    const body = JSON.stringify(fields());
    const reply = await http({ body, headers: JSON_TYPE }, operator);
    expect([reply.status, problemIn(reply).reason]).toEqual([403, "CALLER_NOT_ALLOWED"]);
    const nobody = await http({ body, headers: JSON_TYPE }, await ca.databaseRole("nobody"));
    expect([nobody.status, problemIn(nobody).reason]).toEqual([403, "CALLER_NOT_IDENTIFIED"]);

    const stranger = await (await DevelopmentCa.open(join(folder, "other-ca"))).identity("client/test");
    for (const tls of [null, stranger]) {
      await expect(http({ body, headers: JSON_TYPE }, tls)).rejects.toMatchObject({
        code: expect.stringMatching(/^(ERR_SSL|ECONNRESET|EPIPE)/),
      });
    }
  });
});

describe("Connect", () => {
  const rpc = (method: string, body: string | Uint8Array, type = "application/json", tls = client) =>
    http({ path: `/psephos.vote.v1.${method}`, body, headers: { "content-type": type } }, tls);

  test("the same votes by JSON, with int64 as text", async () => {
    const body = { electionId: "test-1", voterId: newVoter(), requestId: "PLANTED", candidateId: "a" };
    const reply = await rpc("VoteService/CastVote", JSON.stringify(body));
    expect(reply.status).toBe(200);
    const { voteId } = JSON.parse(reply.text);
    const found = await rpc("VoteService/GetVote", JSON.stringify({ electionId: "test-1", voteId }));
    expect(JSON.parse(found.text).vote).toEqual(JSON.parse(reply.text));
    const again = await rpc("VoteService/CastVote", JSON.stringify({ ...body, requestId: "PLANTED-2" }));
    expect([again.status, JSON.parse(again.text).code]).toEqual([409, "already_exists"]);
    expect(again.text).toContain('"reason":"ALREADY_VOTED"');
  });

  test("and by protobuf", async () => {
    const reply = await rpc(
      "VoteService/CastVote",
      toBinary(CastVoteRequestSchema, ballot()),
      "application/proto",
    );
    expect([reply.status, reply.headers["content-type"]]).toEqual([200, "application/proto"]);
  });

  test.each([
    ["broken JSON", '{"voterId": "PLANTED', "application/json"],
    ["a field of another type", '{"voterId": ["PLANTED"]}', "application/json"],
    ["an unknown field", '{"PLANTED": "PLANTED"}', "application/json"],
    ["a broken message", Buffer.from("\x12\xffPLANTED", "latin1"), "application/proto"],
    ["a voter id that is not UTF-8", Buffer.from("\x12\x08PLANTED\xff", "latin1"), "application/proto"],
  ])("%s is INVALID_ARGUMENT and is not repeated", async (_name, body, type) => {
    const reply = await rpc("VoteService/CastVote", body, type);
    expect(reply.status).toBe(400);
    expect(JSON.parse(reply.text)).toEqual({
      code: "invalid_argument",
      message: "the request is not a valid psephos.vote.v1.CastVoteRequest",
    });
  });

  test("the callers are those of gRPC", async () => {
    const body = JSON.stringify({ electionId: "test-1" });
    expect((await rpc("ElectionService/CloseElection", body)).status).toBe(403);
    expect((await rpc("ElectionService/GetElection", body)).status).toBe(200);
    expect((await rpc("ElectionService/GetElection", body, "application/json", operator)).status).toBe(200);
    expect((await rpc("ElectionService/Unknown", body)).status).toBe(404);
  });

  test("a stream in both directions needs HTTP/2", async () => {
    expect((await rpc("VoteService/CastVotes", "", "application/connect+json")).status).toBe(505);
  });

  test("a message over the limit is refused", async () => {
    const body = `{"manifest":"${"A".repeat(3 << 20)}"}`;
    const outcome = await rpc("ElectionService/CreateElection", body, "application/json", operator).catch(
      () => undefined,
    );
    // Whoever is still sending when the answer comes may see the connection break instead.
    expect([429, undefined]).toContain(outcome?.status);
    await votes.castVote(ballot());
  });
});

test("garbage on the sockets ends those connections and nothing else", async () => {
  const tls = { ca: readFileSync(client.ca), cert: readFileSync(client.cert), key: readFileSync(client.key) };
  for (const port of [vote.http, Number(vote.grpc.split(":")[1])]) {
    for (const garbage of [
      randomBytes(10_000),
      "GET / HTTP/9.9\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
    ]) {
      const alpn = port === vote.http ? "http/1.1" : "h2";
      const socket = connectTls({
        ...tls,
        host: "127.0.0.1",
        port,
        ALPNProtocols: [alpn],
        checkServerIdentity: () => undefined,
      });
      socket.on("error", () => {});
      await once(socket, "secureConnect");
      socket.write(garbage);
      await Promise.race([once(socket, "close"), delay(300)]);
      socket.destroy();
    }
  }
  await votes.castVote(ballot());
  expect((await post(fields())).status).toBe(201);
});

test("nothing of what was planted is in the log or the metrics of the process", async () => {
  const metrics = await (await fetch(vote.metrics)).text();
  expect(metrics).toMatch(/psephos_vote_votes_total\{outcome="recorded",service="vote-service"\} \d{4}/);
  expect(vote.log).toContain('"message":"serving"');
  expect(vote.log).toContain('"code":"INVALID_ARGUMENT"');
  for (const text of [metrics, vote.log]) expect(text.toUpperCase()).not.toContain("PLANTED");
});

test("SIGTERM lets the votes that were read be answered, and then the process ends", async () => {
  const stopping = await (await VoteProcess.start()).healthy();
  const caller = createClient(VoteService, transportTo(stopping, client));
  router.onAppend = async (_request, record) => {
    await delay(300);
    return record();
  };
  const silent = Promise.withResolvers<void>();
  async function* open() {
    for (let id = 0n; id < 50n; id++) yield { id, vote: ballot() };
    await silent.promise; // no half-close
  }
  const before = router.records("test-1").length;
  let recorded = 0;
  const stream = (async () => {
    for await (const { outcome } of caller.castVotes(open())) if (outcome.case === "vote") recorded++;
  })();
  const ended = refusalOf(stream);
  await expect.poll(() => router.batches.at(-1)?.votes.length).toBe(50);
  stopping.kill("SIGTERM");
  expect((await ended).kind).toBe("unavailable");
  silent.resolve();
  expect(recorded).toBe(50);
  expect(router.records("test-1").length - before).toBe(50);
  expect(await stopping.exited()).toBe(0);
  router.onAppend = (_request, record) => record();
});

test("a configuration with mistakes stops it at the start, with all of them", async () => {
  const process = await VoteProcess.start({
    listen: "nowhere",
    surprise: 1,
    limits: { batch_votes: 1_001, pending: 5 },
    voter_secret_file: "",
  });
  expect(await process.exited()).toBe(2);
  for (const mistake of [
    "listen:",
    "surprise:",
    "limits.batch_votes:",
    "limits.pending:",
    "voter_secret_file:",
  ]) {
    expect(process.log).toContain(mistake);
  }
});

test("a voter secret that others can read stops it at the start", async () => {
  const leaked = join(folder, "leaked.secret");
  await writeFile(leaked, randomBytes(32).toString("base64"), { mode: 0o644 });
  const process = await VoteProcess.start({ voter_secret_file: leaked });
  expect(await process.exited()).toBe(1);
  expect(process.log).toContain("has mode 0644; it must be 0600");
});

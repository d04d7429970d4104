// What a deployment answers to those who have no business with it, who call out of turn, and who send nonsense: the call
// or the connection fails, with a reason where there is somebody to tell it, and every other call goes on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { constants } from "node:http2";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { create, type DescService, toBinary } from "@bufbuild/protobuf";
import { connect as connectNats } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TlsFiles } from "../../deploy/local/dev-ca.ts";
import type { ServiceName } from "../../deploy/local/service-configs.ts";
import { NODE_FLAGS } from "../../deploy/local/service-process.ts";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { RecordBatchSchema, ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { CastVoteRequestSchema, VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { auditCallers } from "../audit/callers.ts";
import { utf8 } from "../core/bytes.ts";
import { TestCa } from "../grpc/ca.fixture.ts";
import { mayCall, parseIdentity } from "../grpc/identity.ts";
import { digestCallers } from "../publisher/callers.ts";
import { shardRouterCallers } from "../shard/callers.ts";
import { electionCallers, voteCallers } from "../vote/callers.ts";
import { ROOT } from "./cli-fixture.ts";
import { refusalOf, type TestElection, TestStack, until, voteOf } from "./election-fixture.ts";
import {
  callOnce,
  endingOf,
  frame,
  openCall,
  openSession,
  openSocket,
  type PeerOptions,
} from "./raw-call.ts";

let stack: TestStack;
let election: TestElection;
const SERVICES: readonly ServiceName[] = ["vote-service", "shard-router", "audit-service", "publisher"];

beforeAll(async () => {
  stack = await TestStack.start();
  election = await stack.createElection("open");
});
afterAll(() => stack?.[Symbol.asyncDispose]());

const addressOf = (name: ServiceName) => stack.stack.addresses[name];
const ca = () => stack.stack.servers.ca.caFile;

/** A peer with a certificate of the deployment. */
async function peer(identity: string): Promise<PeerOptions> {
  return { ca: ca(), identity: await stack.stack.identity(identity) };
}

describe("callers", () => {
  test.each(SERVICES)("of %s need a certificate of the deployment, over TLS 1.3", async (name) => {
    using foreign = await TestCa.create();
    const uri = `spiffe://${stack.stack.trustDomain}/client/mallory`;
    const { certFile, keyFile } = await foreign.issueFor([{ type: "url", value: uri }]);
    const stranger: TlsFiles = { ca: foreign.caFile, cert: certFile, key: keyFile };
    const good = await peer("client/local");
    const health = "grpc.health.v1.Health/Check";

    expect(await callOnce(addressOf(name), good, health)).toMatchObject({ status: 0 });
    // No call of theirs gets as far as an answer.
    expect((await callOnce(addressOf(name), { ca: ca() }, health)).status).toBeUndefined();
    expect(
      (await callOnce(addressOf(name), { ca: ca(), identity: stranger }, health)).status,
    ).toBeUndefined();
    const old = openSocket(addressOf(name), { ...good, version: "TLSv1.2" }, new Uint8Array());
    const [alert] = await once(old, "error");
    expect(alert.code).toBe("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
    // A certificate of our CA that names nobody in the mesh, or a kind of member that there is not.
    const { servers } = stack.stack;
    for (const identity of [
      await servers.ca.databaseRole("psephos_router"),
      await servers.ca.identity("robot/r2"),
    ]) {
      expect(await callOnce(addressOf(name), { ca: ca(), identity }, health)).toMatchObject({ status: 7 });
    }
  });

  const POLICIES = [
    { at: "vote-service", service: VoteService, callers: voteCallers },
    { at: "vote-service", service: ElectionService, callers: electionCallers },
    { at: "shard-router", service: ShardRouterService, callers: shardRouterCallers },
    { at: "audit-service", service: AuditService, callers: auditCallers },
    { at: "publisher", service: DigestService, callers: digestCallers },
  ] as const;

  test.each(POLICIES)(
    "of $service.typeName may call what their role is for, and nothing else",
    async (policy) => {
      const service: DescService = policy.service;
      const callers: Readonly<Record<string, readonly `${"client" | "service"}/${string}`[]>> =
        policy.callers as never;
      for (const id of [
        "client/local",
        "operator/local",
        "auditor/local",
        ...SERVICES.map((name) => `service/${name}`),
        "service/nats",
      ]) {
        const session = openSession(addressOf(policy.at), await peer(id));
        const identity = parseIdentity(`spiffe://${stack.stack.trustDomain}/${id}`, stack.stack.trustDomain);
        for (const method of service.methods) {
          const call = openCall(session, `${service.typeName}/${method.name}`, { "grpc-timeout": "5S" });
          call.end(frame(new Uint8Array()));
          const { status } = await endingOf(call);
          const allowed = mayCall(identity, callers[method.localName] ?? []);
          expect(status === 7, `${id} calls ${method.name}: ${status}`).toBe(!allowed);
        }
        session.destroy();
      }
    },
  );
});

describe("a request that is wrong is refused with the field that makes it so", () => {
  const LONG = "x".repeat(257);
  const NOT_UTF8 = Uint8Array.of(0xff, 0xfe);

  const vote = (changes: Record<string, string>) => {
    const ids = { election_id: election.id, voter_id: "v", request_id: "r", candidate_id: "ada", ...changes };
    return {
      electionId: ids.election_id,
      voterId: ids.voter_id,
      requestId: ids.request_id,
      choice: { case: "candidateId" as const, value: ids.candidate_id },
    };
  };

  test.each(["election_id", "voter_id", "request_id", "candidate_id"])(
    "CastVote with an empty, an over-long and a non-UTF-8 %s",
    async (field) => {
      const client = await stack.client(VoteService, "client/test");
      for (const value of ["", LONG, "\ufffd"]) {
        const refusal = await refusalOf(client.castVote(vote({ [field]: value })));
        expect([refusal.kind, refusal.reason]).toEqual(["invalid-argument", "INVALID_FIELD"]);
        expect(refusal.fields.map((violation) => violation.field)).toEqual([field]);
        if (value !== "") expect(refusal.message).not.toContain(value);
      }
      // What no library would send: the bytes of one id replaced by others of the same length.
      const bytes = toBinary(CastVoteRequestSchema, create(CastVoteRequestSchema, vote({ [field]: "@@" })));
      bytes.set(NOT_UTF8, Buffer.from(bytes).indexOf("@@"));
      const { status, fields } = await callOnce(
        addressOf("vote-service"),
        await peer("client/test"),
        "psephos.vote.v1.VoteService/CastVote",
        bytes,
      );
      expect({ status, fields }).toEqual({ status: 3, fields: [field] });
    },
  );

  test("several at a time are named together", async () => {
    const client = await stack.client(VoteService, "client/test");
    const refusal = await refusalOf(client.castVote({ electionId: "No", voterId: LONG }));
    expect(refusal.fields.map(({ field }) => field)).toEqual([
      "election_id",
      "voter_id",
      "request_id",
      "choice",
    ]);
  });

  test("the ids of every other service's requests", async () => {
    const elections = await stack.client(ElectionService, "operator/test");
    const audit = await stack.client(AuditService, "operator/test");
    const digests = await stack.client(DigestService, "operator/test");
    const router = await stack.client(ShardRouterService, "service/vote-service");
    for (const electionId of ["", LONG, "UPPER"]) {
      for (const call of [
        () => elections.getElection({ electionId }),
        () => elections.closeElection({ electionId }),
        () => audit.getHead({ electionId }),
        () => audit.listCheckpoints({ electionId }),
        () => digests.getLatestCheckpoint({ electionId }),
        () => digests.getLogKey({ electionId }),
        () => router.heads({ electionId }),
        () => router.append({ electionId }),
      ]) {
        const { kind, fields } = await refusalOf(call());
        expect({ kind, fields: fields.map(({ field }) => field) }).toEqual({
          kind: "invalid-argument",
          fields: ["election_id"],
        });
      }
    }
    const { fields } = await refusalOf(router.append({ electionId: election.id, votes: [{}] }));
    expect(fields.map(({ field }) => field)).toEqual([
      "votes[0].voter_pseudonym",
      "votes[0].sealed_choice",
      "votes[0].request_token",
    ]);
    const manifest = await refusalOf(elections.createElection({ manifest: utf8("{}") }));
    expect(manifest).toMatchObject({ kind: "invalid-argument", reason: "INVALID_MANIFEST" });
    expect(manifest.fields.length).toBeGreaterThan(5);
  });

  test("elections and candidates that there are not, and votes that cannot be again", async () => {
    const client = await stack.client(VoteService, "client/test");
    const nowhere = await refusalOf(client.castVote(vote({ election_id: "nowhere" })));
    expect(nowhere.kind).toBe("not-found");
    const nobody = await refusalOf(client.castVote(vote({ candidate_id: "nobody" })));
    expect(nobody).toMatchObject({ kind: "invalid-argument", reason: "UNKNOWN_CANDIDATE" });
    expect(nobody.fields.map(({ field }) => field)).toEqual(["candidate_id"]);

    const ballot = election.ballot();
    const voter = await election.voter();
    await voter.castVote(voteOf(election, ballot));
    const again = await refusalOf(voter.castVote(voteOf(election, { ...ballot, requestId: "again" })));
    expect(again).toMatchObject({ kind: "already-exists", reason: "ALREADY_VOTED" });
  });

  test("votes before the opening, after the time to close, and after the closing", async () => {
    const hour = 3_600_000_000;
    const now = Date.now() * 1000;
    const early = await stack.createElection("early", { opensAt: now + hour });
    const late = await stack.createElection("late", { opensAt: now - 2 * hour, closesAt: now - hour });
    const closed = await stack.createElection("closed");
    await closed.elections.closeElection({ electionId: closed.id });
    const reasons = [];
    for (const one of [early, late, closed]) {
      const { kind, reason } = await refusalOf((await one.voter()).castVote(voteOf(one, one.ballot())));
      reasons.push([kind, reason]);
      expect(await one.recorded()).toBe(0);
    }
    expect(reasons).toEqual([
      ["failed-precondition", "NOT_OPEN_YET"],
      ["failed-precondition", "CLOSED"],
      ["failed-precondition", "CLOSED"],
    ]);
  });

  test("a batch over the limit", async () => {
    const router = await stack.client(ShardRouterService, "service/vote-service");
    const votes = Array.from({ length: 1_001 }, () => ({
      voterPseudonym: new Uint8Array(32),
      sealedChoice: new Uint8Array(63),
      requestToken: new Uint8Array(16),
    }));
    const refusal = await refusalOf(router.append({ electionId: election.id, votes }));
    expect(refusal).toMatchObject({ kind: "resource-exhausted", reason: "BATCH_TOO_LARGE" });
  });
});

describe("nonsense on every port, while votes are cast", () => {
  const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  const NONSENSE = [
    Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) & 255)),
    Buffer.concat([PREFACE, SETTINGS, Buffer.alloc(64, 0xee)]),
    Buffer.concat([PREFACE, SETTINGS, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    Buffer.concat([PREFACE, SETTINGS, Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 9, 1])]),
  ];

  test("costs whoever sends it the connection or the call, and nobody else anything", async () => {
    const stirred = await stack.createElection("stirred");
    const casting = await stirred.startCasting();
    await casting.acknowledged(50);

    for (const name of SERVICES) {
      // Connections that hang, to be closed at the end, and some that are not even TLS.
      const held = [PREFACE, PREFACE.subarray(0, 7), Buffer.concat([PREFACE, SETTINGS.subarray(0, 4)])];
      const who = await peer("client/mallory");
      const sockets = held.map((bytes) => openSocket(addressOf(name), who, bytes));
      const [host, port] = addressOf(name).split(":");
      const plain = connectTcp(Number(port), host);
      plain.on("error", () => {});
      plain.write(Buffer.alloc(100_000, 0x41));

      for (const bytes of NONSENSE) await once(openSocket(addressOf(name), who, bytes), "close");

      const session = openSession(addressOf(name), who);
      // Reset by the hundred.
      for (let i = 0; i < 300; i++) {
        openCall(session, "psephos.vote.v1.VoteService/CastVotes").close(constants.NGHTTP2_CANCEL);
      }
      // No such method.
      const unknown = openCall(session, "psephos.none.v1.None/None");
      unknown.end();
      expect((await endingOf(unknown)).status).toBe(12);
      session.destroy();
      plain.destroy();
      for (const socket of sockets) socket.destroy();
    }

    await casting.acknowledged(50);
    await casting.stop();
    await stirred.drain();
    await stirred.expectExactly();
  });

  test("streams half-closed at once, messages cut off, garbled and too large", async () => {
    const method = "psephos.vote.v1.VoteService";
    const session = openSession(addressOf("vote-service"), await peer("client/mallory"));
    const open = (name: string) => openCall(session, `${method}/${name}`);

    const halfClosed = open("CastVotes");
    halfClosed.end();
    expect((await endingOf(halfClosed)).status).toBe(0);

    const nothing = open("CastVote");
    nothing.end();
    expect((await endingOf(nothing)).status).toBe(3);

    const cutOff = open("CastVote");
    cutOff.end(frame(new Uint8Array(100)).subarray(0, 50));
    expect((await endingOf(cutOff)).status).toBe(3);

    const garbled = open("CastVotes");
    garbled.end(frame(Uint8Array.of(0xff, 0xff, 0xff)));
    expect((await endingOf(garbled)).status).toBe(3);

    const announced = open("CastVote");
    announced.write(Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]));
    expect((await endingOf(announced)).status).toBe(8);

    const sent = open("CastVote");
    sent.end(frame(Buffer.alloc(5 * 1024 * 1024)));
    expect((await endingOf(sent)).status).toBe(8);

    // The connection itself is as good as before.
    const after = open("GetVote");
    after.end(frame(new Uint8Array()));
    expect((await endingOf(after)).status).toBe(3);
    session.destroy();
  });
});

test("messages on the record stream that are not ShardRouter's are parked and reported, and sealing goes on", async () => {
  const watched = await stack.createElection("parked");
  await watched.cast(watched.ballots(20));
  const parked = () => stack.metric("audit-service", "psephos_audit_parked_messages_total");
  const before = await parked();

  const tls = await stack.stack.identity("service/shard-router");
  const nats = await connectNats({
    servers: stack.stack.nats.url,
    tls: { caFile: tls.ca, certFile: tls.cert, keyFile: tls.key },
  });
  try {
    const stream = nats.jetstream();
    const forged = {
      voterPseudonym: new Uint8Array(32),
      revision: 1,
      sealedChoice: new Uint8Array(63),
      castAtMicros: 1n,
      hash: new Uint8Array(32),
    };
    const batch = (electionId: string, firstSequence: bigint, records = [forged]) =>
      toBinary(
        RecordBatchSchema,
        create(RecordBatchSchema, { electionId, runs: [{ shard: 0, firstSequence, records }] }),
      );
    for (const body of [
      utf8("not protobuf \xff"),
      batch("NO ELECTION", 1n),
      batch("nowhere", 1n),
      batch(watched.id, 1n), // another record in the place of one that is sealed or verified
      batch(watched.id, 1n, [{ ...forged, hash: new Uint8Array(31) }]),
    ]) {
      await stream.publish("psephos.records.parked", body);
    }
  } finally {
    await nats.close();
  }

  // One that took too long to park comes again, and is in the stream of the parked once all the same.
  await until("the messages are parked", async () => (await parked()) >= before + 5);
  const operator = await stack.stack.identity("operator/local");
  const reader = await connectNats({
    servers: stack.stack.nats.url,
    tls: { caFile: operator.ca, certFile: operator.cert, keyFile: operator.key },
  });
  try {
    const manager = await reader.jetstreamManager();
    const { state } = await manager.streams.info("PSEPHOS_PARKED");
    expect(state.messages).toBe(5);
    const { header } = await manager.streams.getMessage("PSEPHOS_PARKED", { seq: state.first_seq });
    expect(header.get("Psephos-Reason")).toContain("record message");
  } finally {
    await reader.close();
  }
  const log = await readFile(stack.stack.services["audit-service"].logFile, "utf8");
  expect(log.match(/parked a stream message/g)?.length).toBeGreaterThanOrEqual(5);

  await watched.cast(watched.ballots(20));
  await watched.drain();
  await watched.expectExactly();
});

describe("a configuration with mistakes stops the service at its start, with all of them and exit status 2", () => {
  const MISTAKES: readonly (readonly [ServiceName, object, readonly string[]])[] = [
    [
      "vote-service",
      { listen: "everywhere", limits: { pending_votes: 0, patience: 1 }, voter_secret_file: undefined },
      ["listen", "limits.pending_votes", "limits.patience: is not a known key", "voter_secret_file"],
    ],
    [
      "shard-router",
      {
        placement: { instances: [{ name: "a", host: "h", port: 70_000 }] },
        nats: { servers: ["http://x"] },
        lisen: "",
      },
      [
        "placement.instances[0].port",
        "placement.instances[0].tls",
        "nats.servers[0]",
        "nats.tls",
        "lisen: is not a known key",
      ],
    ],
    [
      "audit-service",
      {
        evidence: { directory: "" },
        shard_router: "nowhere",
        limits: { head_interval_ms: 1 },
        trust_domain: "UP",
      },
      ["evidence.directory", "shard_router", "limits.head_interval_ms", "trust_domain"],
    ],
    [
      "publisher",
      { public_listen: 8080, log_prefix: "https://x", tls: { ca: "ca.crt" }, key: "secret" },
      ["public_listen", "log_prefix", "tls.cert", "tls.key", "key: is not a known key"],
    ],
  ];

  test.each(MISTAKES)("%s", async (name, changes, mistakes) => {
    const { configFile } = stack.stack.services[name];
    const file = `${configFile}.bad`;
    await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(configFile, "utf8")), ...changes }));
    const main = join(ROOT, "cmd", name, "main.ts");
    const child = spawn(process.execPath, [...NODE_FLAGS, main, "--config", file], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [[status], output, errors] = await Promise.all([
      once(child, "exit"),
      text(child.stdout),
      text(child.stderr),
    ]);
    expect({ status, output }, errors).toEqual({ status: 2, output: "" });
    for (const mistake of mistakes) expect(errors).toContain(`\n  ${mistake}`);
    expect(errors.trimEnd().split("\n")).toHaveLength(1 + mistakes.length);
  });
});

describe("REST", () => {
  interface RestOptions {
    readonly method?: string;
    readonly path?: string;
    readonly headers?: Record<string, string>;
    readonly identity?: string;
  }

  /** A request to the edge, and the answer's status, problem and headers. */
  async function rest(body: unknown, options: RestOptions = {}) {
    const { method = "POST", path = "/api/v1/votes", headers = {}, identity = "client/test" } = options;
    const tls = await stack.stack.identity(identity);
    const [host, port] = stack.stack.addresses.voteHttp.split(":");
    const sent = request({
      host,
      port,
      path,
      method,
      ca: await readFile(tls.ca),
      cert: await readFile(tls.cert),
      key: await readFile(tls.key),
      agent: false,
      headers: { "content-type": "application/json", ...headers },
    });
    sent.end(typeof body === "string" ? body : JSON.stringify(body));
    const [response] = await once(sent, "response");
    const answer = await text(response);
    return {
      status: response.statusCode,
      headers: response.headers,
      body: answer === "" ? undefined : JSON.parse(answer),
    };
  }

  const fields = (changes: Record<string, unknown> = {}) => {
    const { voterId, choiceId } = election.ballot();
    return { election_id: election.id, voter_id: voterId, candidate_id: choiceId, ...changes };
  };

  test("a vote is 201, and what is wrong with others is a problem of its own status", async () => {
    const vote = fields();
    const recorded = await rest(vote, { headers: { "idempotency-key": "k1" } });
    expect(recorded).toMatchObject({
      status: 201,
      body: { vote_id: expect.any(Number), status: "recorded" },
    });
    const again = await rest(vote, { headers: { "idempotency-key": "k1" } });
    expect(again.body).toEqual({ ...recorded.body, promise: again.body.promise });
    expect(again.body.promise).toMatch(/^psephos\/promise-file\/v1\n/);

    const answers = {
      "a second vote": await rest(vote),
      "an empty id": await rest(fields({ voter_id: "" })),
      "not JSON": await rest("{"),
      "a key twice": await rest('{"election_id":"a","election_id":"b"}'),
      "another key": await rest(fields({ surprise: 1 })),
      "no candidate": await rest(fields({ candidate_id: "nobody" })),
      "no election": await rest(fields({ election_id: "nowhere" })),
      "not open": await rest(fields({ election_id: "early" })),
      "no path": await rest(fields(), { path: "/api/v2/votes" }),
      "no such method": await rest(fields(), { method: "PUT" }),
      "too long": await rest(fields({ voter_id: "x".repeat(10_000) })),
      "no JSON by its type": await rest(fields(), { headers: { "content-type": "text/plain" } }),
      "an operator": await rest(fields(), { identity: "operator/local" }),
    };
    const statuses = Object.entries(answers).map(([what, { status, body, headers }]) => {
      expect(headers["content-type"]).toBe("application/problem+json");
      expect(body).toMatchObject({ type: "about:blank", status, title: expect.any(String) });
      return [what, status];
    });
    expect(Object.fromEntries(statuses)).toEqual({
      "a second vote": 409,
      "an empty id": 400,
      "not JSON": 400,
      "a key twice": 400,
      "another key": 400,
      "no candidate": 400,
      "no election": 404,
      "not open": 409,
      "no path": 404,
      "no such method": 405,
      "too long": 413,
      "no JSON by its type": 415,
      "an operator": 403,
    });
    expect(answers["an empty id"].body.fields).toMatchObject([{ field: "voter_id" }]);
    expect(answers["a second vote"].body.reason).toBe("ALREADY_VOTED");
  });

  test("shards that cannot be reached are 503, and too many votes waiting for them 429, with when to come back", async () => {
    const { services } = stack.stack;
    const voteService = services["vote-service"];
    const config = voteService.config;
    const limits = { pending_votes: 1, vote_timeout_ms: 3_000 };
    voteService.config = { ...config, limits };
    await voteService.restart();
    const warm = await rest(fields());
    expect(warm.status).toBe(201);
    await services["shard-router"].stop();
    try {
      const [first, second] = await Promise.all([rest(fields()), rest(fields())]);
      expect([first.status, second.status].sort()).toEqual([429, 503]);
      for (const { headers } of [first, second]) expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    } finally {
      await services["shard-router"].start();
      voteService.config = config;
      await voteService.restart();
    }
    expect((await rest(fields())).status).toBe(201);
  });
});

test("after all of this the services are the ones that were started, and the election ends right", async () => {
  expect(stack.crashes).toEqual([]);
  await election.drain();
  const size = await election.publishedSize();
  expect(size).toBe((await election.recorded()) + 2);
});

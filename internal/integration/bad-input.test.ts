// Callers who may not, mistakes and malice, at the doors of a whole deployment. All the while votes are being cast, and
// those who cast them must not notice: none of their votes is refused or has to be sent again.
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { request } from "node:https";
import { join } from "node:path";
import { buffer, json } from "node:stream/consumers";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { create, type DescService, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { connect as connectNats } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevelopmentCa, type TlsFiles } from "../../deploy/local/dev-ca.ts";
import { runProgram } from "../../deploy/local/run-program.ts";
import type { ServiceName } from "../../deploy/local/service-configs.ts";
import { NODE_FLAGS } from "../../deploy/local/service-process.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { RecordBatchSchema, ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { CastVoteRequestSchema, VoteService, VoteStatus } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { appendVotes, genesisHead } from "../ballot/chain.ts";
import { manifestHash } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { SEALED_CHOICE_SIZE } from "../ballot/sealed-choice.ts";
import { grpcTls } from "../config/fields.ts";
import type { ServiceError } from "../core/errors.ts";
import { shardId } from "../core/ids.ts";
import { errorFromStatus } from "../grpc/status.ts";
import { RecordStream } from "../stream/record-stream.ts";
import { PARKED_STREAM } from "../stream/streams.ts";
import { createLogger } from "../telemetry/logger.ts";
import { type Casting, refusalOf, type TestElection, TestStack, until, voteOf } from "./election-fixture.ts";

const SERVICES = ["vote-service", "shard-router", "audit-service", "publisher"] as const;
/** In values that no answer may repeat. */
const PLANTED = "planted";

const resources = new AsyncDisposableStack();
let folder: string;
let stack: TestStack;
/** For the votes that are wrong. */
let election: TestElection;
let undisturbed: TestElection;
let casting: Casting;

beforeAll(async () => {
  folder = resources.use(await TemporaryFolder.create()).path;
  stack = resources.use(await TestStack.start());
  election = await stack.createElection("bad-votes");
  undisturbed = await stack.createElection("undisturbed");
  casting = await undisturbed.startCasting({ window: 1 });
});
afterAll(() => resources.disposeAsync());

async function readPems({ ca, cert, key }: TlsFiles) {
  return { ca: await readFile(ca), cert: await readFile(cert), key: await readFile(key) };
}

/** A connection to a service's gRPC port. */
function connection(service: ServiceName, options: ConnectionOptions) {
  const [host = "", port] = stack.stack.addresses[service].split(":");
  return connectTls({ host, port: Number(port), ALPNProtocols: ["h2"], ...options });
}

describe.each(SERVICES)("the handshake with %s", (service) => {
  /** "welcome" to whom the server sends its SETTINGS, as it does at once; otherwise how the connection ends. */
  async function greeting(options: ConnectionOptions): Promise<string> {
    try {
      for await (const _settings of connection(service, options)) return "welcome";
      return "closed";
    } catch (error) {
      return String(error instanceof Error && "code" in error ? error.code : error);
    }
  }

  test("is for those with a certificate of the right CA, by TLS 1.3", async () => {
    const known = await readPems(await stack.stack.identity("client/test"));
    const otherCa = await DevelopmentCa.open(join(folder, "other-ca"));
    const stranger = await readPems(await otherCa.identity("client/test"));
    const { ca } = known;
    expect(await greeting(known)).toBe("welcome");
    expect(await greeting({ ca })).toBe("ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED");
    // Node looks at the issuer after the handshake, and drops the connection without an alert.
    expect(await greeting({ ...stranger, ca })).toMatch(/^(closed|ECONNRESET)$/);
    expect(await greeting({ ...known, minVersion: "TLSv1.2", maxVersion: "TLSv1.2" })).toBe(
      "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
    );
  });
});

/** A call for whoever the certificate names. */
function calling<D extends DescService>(service: D, call: (client: Client<D>) => Promise<unknown>) {
  return async (identity: string) => call(await stack.client(service, identity));
}

test.each([
  ["VoteService.CastVote", "operator/test", calling(VoteService, (to) => to.castVote({}))],
  ["VoteService.CastVote", "service/audit-service", calling(VoteService, (to) => to.castVote({}))],
  ["VoteService.CastVotes", "auditor/test", calling(VoteService, (to) => all(to.castVotes(none())))],
  ["ElectionService.CreateElection", "client/test", calling(ElectionService, (to) => to.createElection({}))],
  ["ElectionService.CloseElection", "auditor/test", calling(ElectionService, (to) => to.closeElection({}))],
  ["ShardRouter.Append", "client/test", calling(ShardRouterService, (to) => to.append({}))],
  ["ShardRouter.Append", "service/audit-service", calling(ShardRouterService, (to) => to.append({}))],
  ["ShardRouter.ReadChain", "client/test", calling(ShardRouterService, (to) => all(to.readChain({})))],
  ["ShardRouter.ConfirmSealed", "operator/test", calling(ShardRouterService, (to) => to.confirmSealed({}))],
  ["AuditService.GetRecord", "client/test", calling(AuditService, (to) => to.getRecord({}))],
  ["AuditService.GetHead", "service/publisher", calling(AuditService, (to) => to.getHead({}))],
  ["DigestService.SubmitHead", "operator/test", calling(DigestService, (to) => to.submitHead({}))],
])("%s is not for %s", async (_method, identity, call) => {
  const error = await refusalOf(call(identity));
  expect([error.kind, error.reason]).toEqual(["permission-denied", "CALLER_NOT_ALLOWED"]);
});

async function all<T>(answers: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const answer of answers) list.push(answer);
  return list;
}

async function* none() {}

// RFC 9113: section 3.4, the connection preface, and 4.1, the frame format.
const PREFACE = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), // empty SETTINGS
]);
const GARBAGE: readonly Buffer[] = [
  randomBytes(10_000),
  Buffer.from("POST / HTTP/1.1\r\nhost: x\r\n\r\n"),
  Buffer.concat([PREFACE, Buffer.alloc(64, 0xee)]),
  Buffer.concat([PREFACE, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]), // DATA of 16 MiB
  Buffer.concat([PREFACE, Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 9, 1])]), // DATA of a stream that is not there
];

test.each(SERVICES)("garbage within TLS ends the connection with %s and no other", async (service) => {
  const pems = await readPems(await stack.stack.identity("client/test"));
  await Promise.all(
    GARBAGE.map(async (garbage) => {
      const socket = connection(service, pems)
        .on("error", () => {})
        .resume();
      socket.write(garbage);
      await once(socket, "close");
    }),
  );
  await casting.acknowledged(20);
});

/** A client's way to ask for something of an election. */
function asking<D extends DescService>(
  service: D,
  identity: string,
  ask: (client: Client<D>, electionId: string) => Promise<unknown>,
) {
  return async () => {
    const client = await stack.client(service, identity);
    return (electionId: string) => ask(client, electionId);
  };
}

test.each([
  [
    "vote-service",
    asking(ElectionService, "client/test", (of, electionId) => of.getElection({ electionId })),
  ],
  [
    "shard-router",
    asking(ShardRouterService, "service/vote-service", (of, electionId) => of.heads({ electionId })),
  ],
  ["audit-service", asking(AuditService, "client/test", (of, electionId) => of.getHead({ electionId }))],
  ["publisher", asking(DigestService, "client/test", (of, electionId) => of.getLogKey({ electionId }))],
])("a message over 4 MiB to %s fails, and no other on its connection", async (_service, connect) => {
  const ask = await connect();
  const tooLong = "x".repeat(4 * 1024 * 1024);
  const [, error] = await Promise.all([ask(election.id), refusalOf(ask(tooLong)), ask(election.id)]);
  expect(error.kind).toBe("resource-exhausted");
});

test("a stream that its client half-closes at once gets all of its answers", async () => {
  const client = await election.voter();
  const votes = election
    .ballots(300)
    .map((ballot, index) => ({ id: BigInt(index), vote: voteOf(election, ballot) }));
  async function* requests() {
    yield* votes;
  }
  const answers = await all(client.castVotes(requests()));
  expect(answers.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(
    votes.map(({ id }) => Number(id)),
  );
  expect(new Set(answers.map(({ outcome }) => outcome.case))).toEqual(new Set(["vote"]));
  expect(await all(client.castVotes(none()))).toEqual([]);
});

type Vote = MessageInitShape<typeof CastVoteRequestSchema>;

/** A good vote but for what is changed. */
function voteWith(changes: Vote = {}): Vote {
  return { ...voteOf(election, election.ballot()), ...changes };
}

async function refusedVote(vote: Vote): Promise<ServiceError> {
  const client = await stack.client(VoteService, "client/test");
  return refusalOf(client.castVote(vote));
}

/** Sends bytes that no client of ours would, as the request of a CastVote. Answers the error, and all that was answered. */
async function castBytes(message: Uint8Array): Promise<{ error: ServiceError; text: string }> {
  const pems = await readPems(await stack.stack.identity("client/test"));
  const session = connectHttp2(`https://${stack.stack.addresses["vote-service"]}`, pems);
  try {
    const call = session.request({
      ":method": "POST",
      ":path": `/${VoteService.typeName}/CastVote`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const headers: IncomingHttpHeaders = {};
    for (const event of ["response", "trailers"]) call.on(event, (more) => Object.assign(headers, more));
    const head = Buffer.alloc(5); // not compressed, and the length
    head.writeUInt32BE(message.length, 1);
    call.end(Buffer.concat([head, message]));
    const body = await buffer(call);
    const details = Buffer.from(String(headers["grpc-status-details-bin"]), "base64");
    const text = [JSON.stringify(headers), body, details].map((part) => part.toString("latin1")).join("\n");
    return { error: errorFromStatus(fromBinary(StatusSchema, details)), text };
  } finally {
    session.destroy();
  }
}

const withId = {
  voter_id: (voterId: string): Vote => voteWith({ voterId }),
  request_id: (requestId: string): Vote => voteWith({ requestId }),
  candidate_id: (value: string): Vote => voteWith({ choice: { case: "candidateId", value } }),
};

describe.each(["voter_id", "request_id", "candidate_id"] as const)("a vote whose %s", (field) => {
  test.each([
    ["is empty", ""],
    ["has 257 bytes", PLANTED.padEnd(257, "x")],
    ["has 257 bytes in fewer characters", PLANTED.padEnd(132, "é")],
    ["is not UTF-8", `${PLANTED}\x7f`],
  ])("%s is refused, the field named and its value not repeated", async (problem, value) => {
    const bytes = toBinary(CastVoteRequestSchema, create(CastVoteRequestSchema, withId[field](value)));
    if (problem === "is not UTF-8") bytes[bytes.indexOf(0x7f)] = 0xff;
    const { error, text } = await castBytes(bytes);
    expect([error.kind, error.reason]).toEqual(["invalid-argument", "INVALID_FIELD"]);
    expect(error.fields.map(({ field }) => field)).toEqual([field]);
    expect(text).not.toContain(PLANTED);
  });
});

test("a vote for an election or a candidate that is not there", async () => {
  const nowhere = await refusedVote(voteWith({ electionId: "no-such-election" }));
  expect([nowhere.kind, nowhere.reason]).toEqual(["not-found", "UNKNOWN_ELECTION"]);
  const nobody = await refusedVote(withId.candidate_id(PLANTED));
  expect([nobody.kind, nobody.fields.map(({ field }) => field)]).toEqual([
    "invalid-argument",
    ["candidate_id"],
  ]);
  expect(JSON.stringify([nobody.message, nobody.fields])).not.toContain(PLANTED);
});

test("a vote before the opening and one after the closing", async () => {
  const later = await stack.createElection("later", { opensAt: (Date.now() + 3_600_000) * 1000 });
  const early = await refusedVote(voteWith({ electionId: later.id }));
  expect([early.kind, early.reason]).toEqual(["failed-precondition", "NOT_OPEN_YET"]);

  const over = await stack.createElection("over");
  await over.elections.closeElection({ electionId: over.id });
  const late = await refusedVote(voteWith({ electionId: over.id }));
  expect([late.kind, late.reason]).toEqual(["failed-precondition", "CLOSED"]);
});

test("a voter's second vote", async () => {
  const vote = voteWith();
  await (await election.voter()).castVote(vote);
  const second = await refusedVote({ ...vote, requestId: "another" });
  expect([second.kind, second.reason]).toEqual(["already-exists", "ALREADY_VOTED"]);
});

test("a batch of more votes than ShardRouter takes", async () => {
  const router = await stack.client(ShardRouterService, "service/vote-service");
  const votes = Array.from({ length: 1_001 }, () => ({}));
  const error = await refusalOf(router.append({ electionId: election.id, votes }));
  expect([error.kind, error.reason]).toEqual(["resource-exhausted", "BATCH_TOO_LARGE"]);
});

test("what was refused is nowhere, and what was not is there", async () => {
  await election.drain();
  await election.expectExactly();
});

test("REST answers with the vote's number, or a problem", async () => {
  const { id } = await stack.createElection("by-rest");
  const pems = await readPems(await stack.stack.identity("client/test"));
  const [host, port] = stack.stack.addresses.voteHttp.split(":");
  const post = async (body: string) => {
    const place = { host, port, path: "/api/v1/votes", agent: false as const };
    const headers = { "content-type": "application/json" };
    const sent = request({ ...place, ...pems, method: "POST", headers }).end(body);
    const [response] = await once(sent, "response");
    return [response.statusCode, response.headers["content-type"], await json(response)];
  };
  const vote = { election_id: id, voter_id: "by rest", candidate_id: "ada" };
  const problemOf = (status: number) => expect.objectContaining({ status });
  const problem = (status: number) => [status, "application/problem+json", problemOf(status)];

  const [status, type, answer] = await post(JSON.stringify(vote));
  expect([status, type, answer]).toEqual([
    201,
    "application/json",
    { vote_id: expect.any(Number), status: "recorded" },
  ]);
  const reader = await stack.client(VoteService, "client/test");
  const found = await reader.getVote({ electionId: id, voteId: BigInt(answer.vote_id) });
  expect([VoteStatus.RECORDED, VoteStatus.SEALED]).toContain(found.vote?.status);

  expect(await post(JSON.stringify(vote))).toEqual(problem(409));
  expect(await post(JSON.stringify({ ...vote, voter_id: "" }))).toEqual(problem(400));
  expect(await post(JSON.stringify({ ...vote, candidate_id: PLANTED }))).toEqual(problem(400));
  expect(await post(`{"voter_id": "${PLANTED}`)).toEqual(problem(400));
  expect(await post(JSON.stringify({ ...vote, election_id: "no-such-election" }))).toEqual(problem(404));
});

describe("the record stream", () => {
  /** A message as ShardRouter would send it, of one run. */
  function batchOf({ id }: TestElection, records: readonly VoteRecord[]): Uint8Array {
    const first = records[0];
    const run = {
      shard: first?.shard ?? 0,
      firstSequence: BigInt(first?.sequence ?? 0),
      records: records.map(({ castAt, ...record }) => ({ ...record, castAtMicros: BigInt(castAt) })),
    };
    return toBinary(RecordBatchSchema, create(RecordBatchSchema, { electionId: id, runs: [run] }));
  }

  /** The first record of a shard, of a voter that there is not. It follows the genesis as a true one would. */
  function forgery({ manifest }: TestElection, shard: number): VoteRecord[] {
    const voterPseudonym = randomBytes(32);
    voterPseudonym.writeUInt32BE(shard);
    const sealedChoice = randomBytes(SEALED_CHOICE_SIZE);
    sealedChoice[0] = 1;
    const head = genesisHead(manifestHash(manifest), shardId(shard));
    const nowMicros = Date.now() * 1000;
    const vote = { voterPseudonym, revision: 1, sealedChoice };
    return appendVotes(head, [vote], { shards: manifest.shards, nowMicros }).records;
  }

  test("parks and reports what cannot be read or verified, and nothing forged is sealed", async () => {
    const attacked = await stack.createElection("attacked");
    const { nats, servers, services } = stack.stack;
    const tls = grpcTls(await stack.stack.identity("service/shard-router"));
    await using stream = await RecordStream.connect({
      servers: [nats.url],
      tls: { ...tls, serverId: servers.ca.spiffeId("service/nats") },
      name: "forger",
      replicas: 1,
      logger: createLogger({ service: "test", level: "silent" }),
    });
    const files = await stack.stack.identity("operator/local");
    const operator = await connectNats({ servers: nats.url, tls: grpcTls(files) });
    await using _ = { [Symbol.asyncDispose]: () => operator.close() };
    const { streams } = await operator.jetstreamManager();
    const parked = async () => (await streams.info(PARKED_STREAM)).state.messages;
    expect(await parked()).toBe(0);

    const malformed = new Uint8Array([0xff, 0xff, 0xff]);
    const unverifiable = batchOf(
      attacked,
      forgery(attacked, 0).map((record) => ({ ...record, castAt: record.castAt + 1 })),
    );
    await stream.publish(attacked.id, malformed);
    await until("the malformed message is parked", async () => (await parked()) === 1);
    await stream.publish(attacked.id, unverifiable);
    await until("the unverifiable message is parked", async () => (await parked()) === 2);
    // The chain has no key. Only the shard knows that this one is not its own.
    await stream.publish(attacked.id, batchOf(attacked, forgery(attacked, 1)));

    const [first, second] = await Promise.all(
      [1, 2].map((seq) => streams.getMessage(PARKED_STREAM, { seq })),
    );
    expect([...(first?.data ?? [])]).toEqual([...malformed]);
    expect(first?.header.get("Psephos-Reason")).toMatch(/^record message: /);
    expect([...(second?.data ?? [])]).toEqual([...unverifiable]);
    expect(second?.header.get("Psephos-Reason")).toMatch(/^shard 0, sequence 1: its hash does not cover/);
    expect(await stack.metric("audit-service", "psephos_audit_parked_messages_total")).toBe(2);

    await attacked.cast(attacked.ballots(500));
    await attacked.drain();
    await attacked.expectExactly();
    const log = await readFile(services["audit-service"].logFile, "utf8");
    expect(log.split("parked a stream message").length - 1).toBeGreaterThanOrEqual(2);
    expect(log).toContain("the stream brought records that the shard does not have");
  });
});

test.each(SERVICES)("%s refuses a wrong configuration and lists every mistake", async (service) => {
  const file = join(folder, `${service}.json`);
  // A key that is not known, one of another type, and one that is missing.
  const mistaken = { lisen: "127.0.0.1:0", listen: 7, tls: undefined };
  const config = { ...stack.stack.services[service].config, ...mistaken };
  await writeFile(file, JSON.stringify(config));
  const main = fileURLToPath(new URL(`../../cmd/${service}/main.ts`, import.meta.url));
  const args = [...NODE_FLAGS, main, "--config", file];
  const outcome = await runProgram({ file: process.execPath, args, timeoutMs: 20_000 }).catch(String);
  expect(outcome).toContain(`(exit code 2): ${service}: ${file} cannot be used:\n`);
  const mistakes = outcome.split("\n").slice(1);
  expect(mistakes.map((line) => line.trim().split(":")[0]).sort()).toEqual(["lisen", "listen", "tls"]);
});

test("those who cast votes meanwhile have noticed nothing", async () => {
  const { recorded, retried } = await casting.stop();
  expect([recorded, retried]).toEqual([undisturbed.ledger.size, 0]);
  await undisturbed.drain();
  await undisturbed.expectExactly();
});

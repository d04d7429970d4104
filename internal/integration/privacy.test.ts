// Nothing that outlives a call, or leaves the services, says who voted or how.
import { randomBytes } from "node:crypto";
import { readdir, readFile, realpath } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import type { Client as ConnectClient } from "@connectrpc/connect";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ServiceConfigs } from "../../deploy/local/service-configs.ts";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import { type CastVoteRequestSchema, VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { manifestHash } from "../ballot/manifest.ts";
import {
  CIPHERTEXT_OFFSET,
  SEALED_BY_CLIENT,
  SEALED_BY_SERVICE,
  SEALED_CHOICE_SIZE,
  TAG_OFFSET,
} from "../ballot/sealed-choice.ts";
import { sealAsClient } from "../ballot/sealing.ts";
import { VoterKey } from "../ballot/voter-key.ts";
import { fromBase64 } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";
import { Needle } from "./needle.ts";

/** In every voter id and request id, and in nothing else. */
const MARK = `mark${randomBytes(8).toString("hex")}`;
/** In ids that stand where an election's should, and could be one. */
const MISPLACED = `lost${randomBytes(8).toString("hex")}`;
const CANDIDATE = `cand${randomBytes(8).toString("hex")}`;
/** Voters are numbered. Those from here on seal their own choices. */
const OWN_VOTERS_FROM = 100;
const TITLE = "An election with a title that can be found";

/** Something the deployment has written or answered. */
interface Place {
  /** For a file, its folder below the state folder. */
  readonly kind: string;
  readonly name: string;
  readonly bytes: Buffer;
}

type Vote = MessageInitShape<typeof CastVoteRequestSchema>;

let stack: TestStack;
let election: TestElection;
let client: ConnectClient<typeof VoteService>;
/** What callers were told, word for word. */
const answers: Place[] = [];
/** Choices that voters' own software sealed, all for the candidate. */
let ownSeals: Uint8Array[];

beforeAll(async () => {
  const debug = <Config extends object>(config: Config): Config => ({ ...config, log_level: "debug" });
  stack = await TestStack.start({
    postgresInstances: 2,
    // Postgres shows all it is told, and compresses nothing that is to be searched.
    postgresSettings: { log_statement: "all", log_error_verbosity: "verbose", wal_compression: "off" },
    configure: {
      "vote-service": debug<ServiceConfigs["vote-service"]>,
      "shard-router": debug<ServiceConfigs["shard-router"]>,
      "audit-service": debug<ServiceConfigs["audit-service"]>,
      publisher: debug<ServiceConfigs["publisher"]>,
    },
  });
  client = await stack.client(VoteService, "client/test");
  election = await stack.createElection("privacy", {
    title: TITLE,
    choices: [
      { id: "nobody", name: "Nobody votes for this one" },
      { id: CANDIDATE, name: "Everybody votes for this one" },
    ],
  });
  ownSeals = await Promise.all(Array.from({ length: 20 }, () => sealAsClient(election.manifest, 1)));
});
afterAll(() => stack?.[Symbol.asyncDispose]());

let voters = 0;

function sealedChoice(value: Uint8Array): Vote {
  return { choice: { case: "sealedChoice", value } };
}

function planted(changes: Vote = {}): Vote {
  const number = voters++;
  return {
    electionId: election.id,
    voterId: `${MARK} voter ${number}`,
    requestId: `${MARK} request ${number}`,
    choice: { case: "candidateId", value: CANDIDATE },
    ...changes,
  };
}

/** Casts votes over one stream and notes down what is said of those that are refused. Answers the reasons. */
async function castAll(votes: readonly Vote[]): Promise<string[]> {
  async function* requests() {
    for (const [index, vote] of votes.entries()) yield { id: BigInt(index), vote };
  }
  const reasons: string[] = [];
  for await (const { outcome } of client.castVotes(requests())) {
    if (outcome.case !== "error") continue;
    const bytes = Buffer.from(toBinary(StatusSchema, outcome.value));
    answers.push({ kind: "answer", name: outcome.value.message, bytes });
    reasons.push(outcome.value.message);
  }
  return reasons;
}

/** Makes a call that is refused, and notes down all that the caller learns. */
async function refused(vote: Vote, timeoutMs?: number): Promise<ServiceError> {
  try {
    await client.castVote(vote, timeoutMs === undefined ? {} : { timeoutMs });
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const { kind, message, reason, fields, cause } = error;
    const text = JSON.stringify({ kind, message, reason, fields, cause: String(cause) });
    answers.push({ kind: "answer", name: message, bytes: Buffer.from(text) });
    return error;
  }
  throw new Error("the vote was not refused");
}

/** Sends something to the HTTP edge, and notes down whatever comes back. Answers the status. */
async function http(
  body: string,
  headers: Record<string, string> = {},
  path = "/api/v1/votes",
): Promise<number> {
  const tls = await stack.stack.identity("client/test");
  const [ca, cert, key] = await Promise.all([readFile(tls.ca), readFile(tls.cert), readFile(tls.key)]);
  const [host, port] = stack.stack.addresses.voteHttp.split(":");
  const reply = await new Promise<{ status: number; headers: IncomingHttpHeaders; text: string }>(
    (resolve, reject) => {
      const options = { host, port, path, ca, cert, key, method: "POST", agent: false as const };
      const sent = request(
        { ...options, headers: { "content-type": "application/json", ...headers } },
        async (response) => {
          response.setEncoding("utf8");
          let text = "";
          for await (const chunk of response) text += chunk;
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        },
      );
      sent.on("error", reject);
      sent.end(body);
    },
  );
  answers.push({
    kind: "answer",
    name: `${reply.status} ${path}`,
    bytes: Buffer.from(JSON.stringify(reply)),
  });
  return reply.status;
}

function restVote(changes: object = {}): string {
  const voterId = `${MARK} voter ${voters++}`;
  return JSON.stringify({ election_id: election.id, voter_id: voterId, candidate_id: CANDIDATE, ...changes });
}

/** Every row that any instance has, as text; `bytea` comes in hexadecimal. */
async function* databaseRows(): AsyncGenerator<Place> {
  for (const instance of stack.stack.postgres) {
    const client = new Client(await instance.clientConfig("postgres"));
    await client.connect();
    try {
      const { rows: tables } = await client.query<{ name: string }>(
        `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
      );
      for (const { name } of tables) {
        const { rows } = await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
        const text = rows.map(({ row }) => row).join("\n");
        yield { kind: "row", name: `${instance.name} ${name}`, bytes: Buffer.from(text) };
      }
    } finally {
      await client.end();
    }
  }
}

async function* metrics(): AsyncGenerator<Place> {
  for (const [name, address] of Object.entries(stack.stack.addresses.metrics)) {
    const response = await fetch(`http://${address}/metrics`);
    yield { kind: "metrics", name, bytes: Buffer.from(await response.text()) };
  }
}

/** Every file below the state folder, which is all that the deployment has; segments also unpacked. */
async function* files(): AsyncGenerator<Place> {
  const root = join(stack.stack.folders.evidence, "..");
  for (const kind of await readdir(root)) {
    // Where Postgres may not enter the folder, its data is a link to elsewhere.
    const folders = [join(root, kind), await realpath(join(root, kind, "data")).catch(() => undefined)];
    for (const folder of new Set(folders)) {
      if (folder !== undefined) yield* filesBelow(folder, kind);
    }
  }
}

async function* filesBelow(folder: string, kind: string): AsyncGenerator<Place> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const name = join(entry.parentPath, entry.name);
    const bytes = await readFile(name);
    yield { kind, name, bytes };
    if (name.endsWith(".zst")) yield { kind, name: `${name}, unpacked`, bytes: zstdDecompressSync(bytes) };
  }
}

async function all(...sources: AsyncGenerator<Place>[]): Promise<Place[]> {
  const places: Place[] = [];
  for (const source of sources) for await (const place of source) places.push(place);
  return places;
}

test("votes are cast, refused and lost in every way there is", async () => {
  const { postgres, services } = stack.stack;
  const first = Array.from({ length: OWN_VOTERS_FROM }, () => planted());
  expect(await castAll(first)).toEqual([]);
  const sealed = ownSeals.map((value) => planted(sealedChoice(value)));
  expect(await castAll(sealed)).toEqual([]);
  expect(await http(restVote(), { "idempotency-key": `${MARK}-key` })).toBe(201);
  expect(await http(restVote())).toBe(201);

  // Refused by rule.
  const second = planted({ voterId: first[0]?.voterId ?? "" });
  expect((await refused(second)).reason).toBe("ALREADY_VOTED");
  expect(await castAll([second])).toHaveLength(1);
  const another = await sealAsClient(election.manifest, 1);
  for (const { voterId = "" } of [first[0] ?? {}, sealed[0] ?? {}]) {
    expect((await refused(planted({ voterId, ...sealedChoice(another) }))).reason).toBe("ALREADY_VOTED");
  }
  expect(await http(restVote({ voter_id: first[0]?.voterId }))).toBe(409);
  // Refused by form, with an id in every place it could be put by mistake.
  const long = `${MARK}${"x".repeat(257)}`;
  const malformed: Vote[] = [
    planted({ choice: { case: "candidateId", value: `${MARK} ${CANDIDATE}` } }),
    planted({ choice: { case: "candidateId", value: long } }),
    planted(sealedChoice(Buffer.from(`${MARK}${CANDIDATE}`))),
    // What a client sealed, but of the form that is VoteService's own, and one byte too long.
    planted(sealedChoice(another.with(0, SEALED_BY_SERVICE))),
    planted(sealedChoice(Buffer.concat([another, Buffer.of(0)]))),
    planted({ voterId: long }),
    planted({ requestId: long }),
    planted({ voterId: `${MARK}\ufffd` }),
    planted({ electionId: `${MARK} ${CANDIDATE}` }),
    planted({ electionId: MISPLACED }),
    planted({ voterId: "", requestId: "" }),
  ];
  expect(await castAll(malformed)).toHaveLength(malformed.length);
  for (const vote of malformed) await refused(vote);
  for (const [body, status] of [
    [`{"voter_id":"${MARK}`, 400],
    [`{"voter_id":"${MARK}","voter_id":"${CANDIDATE}"}`, 400],
    [restVote({ [MARK]: CANDIDATE }), 400],
    [restVote({ voter_id: long }), 400],
    [restVote({ candidate_id: MARK }), 400],
    [restVote({ election_id: MISPLACED }), 404],
    [restVote({ voter_id: MARK.repeat(1_000) }), 413],
  ] as const) {
    expect(await http(body)).toBe(status);
  }
  expect(await http(restVote(), { "idempotency-key": `${MARK} with spaces` })).toBe(400);
  expect(await http(restVote(), { "content-type": MARK })).toBe(415);
  expect(await http(restVote(), {}, `/api/v1/votes/${MARK}?voter_id=${MARK}`)).toBe(404);
  expect(await http(`{"voterId":["${MARK}"]}`, {}, "/psephos.vote.v1.VoteService/CastVote")).toBe(400);

  // Lost, and refused, on the way.
  await postgres[1]?.kill();
  const votes = Array.from({ length: 50 }, () => planted());
  expect((await castAll(votes)).length).toBeGreaterThan(5);
  // Too late for another attempt, and too late for any. Where the machine is busy, the first may come too late as well.
  await until("one is refused for its shard", async () => {
    const hurried = await Promise.allSettled(votes.map((vote) => refused(vote, 500)));
    return hurried.some((result) => result.status === "fulfilled" && result.value.kind === "unavailable");
  });
  expect((await refused(planted(), 1)).kind).toBe("deadline-exceeded");
  await postgres[1]?.start();
  await services["shard-router"].kill();
  expect((await castAll([planted()])).length).toBe(1);
  await services["shard-router"].start();
  await until("every vote is taken again", async () => (await castAll(votes)).length === 0);

  await election.drain();
  expect((await refused(planted())).reason).toBe("CLOSED");
  expect(await http(restVote())).toBe(409);
});

test("no voter, request or choice is to be found in anything that was written or answered", async () => {
  const secret = await readFile(stack.stack.folders.voterSecretFile, "utf8");
  const key = VoterKey.derive(fromBase64(secret.trim()), manifestHash(election.manifest));

  const places = [...answers, ...(await all(databaseRows(), metrics()))];
  // All that was still in memory is in a file once everything is stopped.
  const { services, nats, postgres } = stack.stack;
  for (const server of [...Object.values(services), nats, ...postgres]) await server.stop();
  places.push(...(await all(files())));

  // What must be there is found, so what is not found is not there.
  const found = (kind: string, needle: Needle) =>
    places.some((place) => place.kind === kind && needle.isIn(place.bytes)) ? needle.name : undefined;
  const title = new Needle("title", TITLE);
  const pseudonym = new Needle("pseudonym", key.pseudonym(`${MARK} voter 0`));
  const hash = new Needle("manifest hash", manifestHash(election.manifest));
  const name = new Needle("election id", election.id);
  // So the places that a vote sealed by its client reaches are among those that are searched.
  const seal = new Needle("own seal", ownSeals[0] ?? "");
  const itsVoter = new Needle("its voter's pseudonym", key.pseudonym(`${MARK} voter ${OWN_VOTERS_FROM}`));
  const shown: [string, Needle[]][] = [
    ["answer", [new Needle("reason", "ALREADY_VOTED")]],
    ["metrics", [new Needle("counter", "psephos_vote_votes_total")]],
    ["row", [title, pseudonym, seal, itsVoter]],
    ["postgres-0", [title]],
    ["nats", [pseudonym, seal, itsVoter]],
    ["evidence", [title, pseudonym, seal, itsVoter]],
    ["public", [title, hash]],
    ["tiles", [hash]],
    ["logs", [name]],
  ];
  for (const [kind, needles] of shown) {
    expect([kind, ...needles.map((needle) => found(kind, needle))]).toEqual([
      kind,
      ...needles.map(({ name }) => name),
    ]);
  }
  expect([found("postgres-0", pseudonym), found("postgres-1", pseudonym)]).toContain("pseudonym");

  expect(leaks(places, new Needle("a voter id or request id", MARK))).toEqual([]);
  // The manifest's list of choices is the one place for it.
  const choice = { before: '{"id":"', after: '","name":' };
  expect(leaks(places, new Needle("the candidate", CANDIDATE, choice))).toEqual([]);
  // Whether there is such an election only Postgres knows, which was told here to write down what it is asked.
  const others = places.filter(
    ({ kind, name }) => !(kind === "postgres-0" && name.endsWith("/postgres.log")),
  );
  expect(leaks(others, new Needle("a misplaced id", MISPLACED))).toEqual([]);
});

function leaks(places: readonly Place[], needle: Needle): string[] {
  return places
    .filter(({ bytes }) => needle.isIn(bytes))
    .map(({ kind, name }) => `${needle.name} in ${kind}: ${name}`);
}

test("equal choices, whoever seals them, are sealed into unequal bytes of one length", async () => {
  const whole = new Set<string>();
  const ciphertexts = new Set<string>();
  const byClients = new Set<string>();
  let votes = 0;
  for await (const { sealedChoice } of election.sealedVotes()) {
    votes++;
    const bytes = Buffer.from(sealedChoice);
    expect(bytes).toHaveLength(SEALED_CHOICE_SIZE);
    whole.add(bytes.toString("hex"));
    if (bytes[0] === SEALED_BY_CLIENT) byClients.add(bytes.toString("hex"));
    ciphertexts.add(bytes.toString("hex", CIPHERTEXT_OFFSET, TAG_OFFSET));
  }
  expect(votes).toBeGreaterThan(150);
  expect(whole.size).toBe(votes);
  expect(byClients).toEqual(new Set(ownSeals.map((seal) => Buffer.from(seal).toString("hex"))));
  // Two bytes each, so that some may be equal by chance: of 200 random ones six, once in a million runs.
  expect(ciphertexts.size).toBeGreaterThan(votes - 6);
});

// AuditService dies between any two steps of a commit (docs/architecture.md, "A commit"), with its evidence in a bucket.
// Each step becomes visible where it leaves the process, and there it is held: before the other side hears of it, or when
// the other side has done it and before its answer comes. Then the process gets SIGKILL.
import { access, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runProgram } from "../../deploy/local/run-program.ts";
import { findS3Server } from "../../deploy/local/s3-binaries.ts";
import type { ServiceConfigs } from "../../deploy/local/service-configs.ts";
import { checkpointKey, parseSegmentKey, parseVoteKey } from "../evidence/layout.ts";
import { type Asked, type S3Fault, s3Error, TestS3Proxy } from "../worm/test-s3-proxy.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";
import { TcpGate } from "./tcp-gate.ts";

const resources = new AsyncDisposableStack();
let stack: TestStack;
let s3: TestS3Proxy;
let postgres: TcpGate;
let publisher: TcpGate;
let router: TcpGate;
let nats: TcpGate;
let database: pg.Client;
let election: TestElection;

beforeAll(async () => {
  const store = { kind: "server", server: await findS3Server("versitygw") } as const;
  // In this layout a commit has one step more than in the other.
  stack = resources.use(await TestStack.start({ store, layout: "object-per-vote" }));
  const { services, evidence, nats: server } = stack.stack;
  const service = services["audit-service"];
  // The stack has made it of this type.
  const config = service.config as ServiceConfigs["audit-service"];
  if (!evidence.server || !evidence.config.s3) throw new Error("the evidence is not in a server of ours");

  s3 = resources.use(await TestS3Proxy.to(await evidence.server.connection()));
  s3.fault = passing;
  const gateTo = async (host: string, port: string | number) =>
    resources.use(await TcpGate.to({ host, port: Number(port) }));
  const behind = (address: string) => gateTo("127.0.0.1", new URL(`tcp://${address}`).port);
  postgres = await gateTo(config.postgres.host, config.postgres.port);
  publisher = await behind(config.publisher);
  router = await behind(config.shard_router);
  nats = await gateTo("127.0.0.1", new URL(server.url).port);
  await service.stop();
  service.config = {
    ...config,
    evidence: {
      layout: "object-per-vote",
      s3: { ...evidence.config.s3, endpoint: s3.endpoint, ca: undefined },
    },
    postgres: { ...config.postgres, port: postgres.port },
    publisher: `127.0.0.1:${publisher.port}`,
    shard_router: `127.0.0.1:${router.port}`,
    nats: { ...config.nats, servers: [`tls://localhost:${nats.port}`] },
    limits: { head_interval_ms: 50, poll_interval_ms: 200 },
    // What else it asks of the bucket, and what else it seals, would be in the way.
    reconcile: { records_per_second: 0 },
    event_key: undefined,
  };
  await service.start();

  database = new pg.Client(await stack.stack.postgres[0]?.clientConfig("postgres"));
  await database.connect();
  resources.defer(() => database.end());
  election = await stack.createElection("killed");
  await sealed();
});
afterAll(() => resources.disposeAsync());

/** Resolves when everything that was cast is public. */
async function sealed(): Promise<void> {
  const size = election.ledger.size + 1;
  await until(`${size} entries are public`, async () => (await election.publishedSize()) === size);
}

/** A probe waits for seconds to see what becomes of a legal hold, at each start: here nobody may set one. */
function passing({ headers }: Asked): S3Fault | undefined {
  return headers["x-amz-object-lock-legal-hold"] ? s3Error(403, "AccessDenied") : undefined;
}

/** Requests of one kind, held for ever, or until they are let go. */
class Hold {
  readonly #first = Promise.withResolvers<Asked>();
  readonly #free = Promise.withResolvers<undefined>();

  constructor(operation: string, isHeld: (asked: Asked) => boolean, fault?: S3Fault) {
    s3.fault = (asked) => {
      if (asked.operation !== operation || !isHeld(asked)) return passing(asked);
      this.#first.resolve(asked);
      return fault ?? this.#free.promise;
    };
  }

  /** The first of them, when it is held. */
  get first(): Promise<Asked> {
    return this.#first.promise;
  }

  letGo(): void {
    this.#free.resolve(undefined);
  }
}

const isVote = ({ key }: Asked) => parseVoteKey(key) !== undefined;
const isSegment = ({ key }: Asked) => parseSegmentKey(key) !== undefined;
const isCheckpoint = ({ key }: Asked) => key === checkpointKey(election.id, 1);

async function isStored(key: string): Promise<boolean> {
  return (await election.evidence.stat(key)) !== undefined;
}

/** Votes cast before each kill: some in the same shard. */
const VOTES = 20;

/** Begins a commit that ends at the first request of this kind, and answers what it asked. */
async function commitUntil(hold: Hold): Promise<Asked> {
  await election.cast(election.ballots(VOTES));
  return hold.first;
}

/** A commit whose segment is stored, and not yet read back. It goes on, to where `shut` lets it. */
async function commitPastEvidence(shut: (commit: Begun) => void | Promise<void>): Promise<Begun> {
  const reading = new Hold("GetObject", isSegment);
  const { key } = await commitUntil(reading);
  const segment = parseSegmentKey(key);
  if (!segment) throw new TypeError(`${key} is no segment`);
  const commit = { before: segment.first, after: segment.last + 1 };
  await shut(commit);
  reading.letGo();
  return commit;
}

/** The log's size before a commit, and after it. */
interface Begun {
  readonly before: number;
  readonly after: number;
}

async function committedSize(): Promise<number> {
  const { rows } = await database.query<{ tree_size: string }>(
    "SELECT tree_size FROM psephos.log_heads WHERE election_id = $1",
    [election.id],
  );
  return Number(rows[0]?.tree_size);
}

/** The partial tile at the end of a log of one tile. */
function tile(kind: "0" | "entries", size: number): string {
  return join(stack.stack.folders.tiles, election.id, "tile", kind, "000.p", String(size));
}

function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** What was made by hand for a moment, and must be gone after it. */
const traps: string[] = [];

/** Whoever opens it waits for somebody to write into it. */
async function makeFifo(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await runProgram({ file: "mkfifo", args: [file] });
  traps.push(file);
}

/** Each brings a commit to a moment, and proves that it is there: by the number of its step, and what the kill leaves. */
const MOMENTS: readonly (readonly [step: string, reach: () => Promise<void>])[] = [
  [
    "1: records are taken, and the first vote's object is asked for",
    async () => {
      const { key } = await commitUntil(new Hold("PutObject", isVote, "hang"));
      expect(await isStored(key)).toBe(false);
    },
  ],
  [
    "2: votes are stored, unanswered",
    async () => {
      const { key } = await commitUntil(new Hold("PutObject", isVote, "unanswered"));
      await until("the vote is stored", () => isStored(key));
    },
  ],
  [
    "2: the votes are stored and read back, their segment is asked for",
    async () => {
      const { key } = await commitUntil(new Hold("PutObject", isSegment, "hang"));
      expect(await isStored(key)).toBe(false);
    },
  ],
  [
    "2: the segment is stored, unanswered",
    async () => {
      const { key } = await commitUntil(new Hold("PutObject", isSegment, "unanswered"));
      await until("the segment is stored", () => isStored(key));
    },
  ],
  [
    "2: the segment is stored, not read back",
    async () => {
      const { key } = await commitUntil(new Hold("GetObject", isSegment, "hang"));
      expect(await isStored(key)).toBe(true);
    },
  ],
  [
    "3: the swap is asked for",
    async () => {
      const { before } = await commitPastEvidence(() => postgres.shut("requests"));
      await until("it is asked for", () => postgres.kept.requests > 0);
      expect(await committedSize()).toBe(before);
    },
  ],
  [
    "4: the head is swapped, unanswered",
    async () => {
      const { after } = await commitPastEvidence(() => postgres.shut("answers"));
      await until("the head is swapped", async () => (await committedSize()) === after);
      expect(await isThere(tile("0", after))).toBe(false);
    },
  ],
  [
    "5: some tiles are written",
    async () => {
      const { after } = await commitPastEvidence((commit) => makeFifo(tile("entries", commit.after)));
      await until("a tile is written", () => isThere(tile("0", after)));
      expect(await committedSize()).toBe(after);
    },
  ],
  [
    "5: tiles are written, the signature is asked for",
    async () => {
      const { before, after } = await commitPastEvidence(() => publisher.shut("requests"));
      await until("it is asked for", () => publisher.kept.requests > 0);
      await until("tiles are written", () => isThere(tile("entries", after)));
      expect(await committedSize()).toBe(after);
      expect(await election.publishedSize()).toBe(before);
    },
  ],
  [
    "6: the head is signed and public, unanswered",
    async () => {
      const { after } = await commitPastEvidence(() => publisher.shut("answers"));
      await until("it is public", async () => (await election.publishedSize()) === after);
    },
  ],
  [
    "6: neither the stream nor the router has heard of it",
    async () => {
      const { after } = await commitPastEvidence(() => {
        nats.shut("requests");
        router.shut("requests");
      });
      await until("it is public", async () => (await election.publishedSize()) === after);
      await until("they are told", () => nats.kept.requests > 0 && router.kept.requests > 0);
    },
  ],
  [
    "7: both have heard of it, the router unanswered",
    async () => {
      const { after } = await commitPastEvidence(() => router.shut("answers"));
      await until("it is public", async () => (await election.publishedSize()) === after);
      await until("the router has answered", () => router.kept.answers > 0);
    },
  ],
];

async function revive(): Promise<void> {
  for (const gate of [postgres, publisher, router, nats]) gate.open();
  for (const file of traps.splice(0)) await rm(file);
  await stack.stack.services["audit-service"].start();
}

async function kill(): Promise<void> {
  await stack.stack.services["audit-service"].kill();
  s3.fault = passing;
}

test.each(MOMENTS)("killed at %s", async (_, reach) => {
  await reach();
  await kill();
  await revive();
  await sealed();
  await election.expectSealed();
});

test("killed at 6, of the last commit: the vote checkpoint is asked for, and then stored, unanswered", async () => {
  const asking = new Hold("PutObject", isCheckpoint, "hang");
  await election.elections.closeElection({ electionId: election.id });
  const { key } = await asking.first;
  expect(await election.publishedSize()).toBe(election.ledger.size + 2);
  expect(await isStored(key)).toBe(false);
  await kill();

  const storing = new Hold("PutObject", isCheckpoint, "unanswered");
  await revive();
  await storing.first;
  await until("it is stored", () => isStored(key));
  await kill();
  await revive();
  await election.drain();
  await election.expectExactly();
});

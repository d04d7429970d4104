import { create } from "@bufbuild/protobuf";
import { createHandlerContext, type HandlerContext } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  CloseElectionRequestSchema,
  CreateElectionRequestSchema,
  ElectionService,
  ElectionState,
  GetElectionRequestSchema,
  GetPromiseKeyRequestSchema,
  ListElectionsRequestSchema,
} from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { CastVoteRequestSchema } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { encodeManifest } from "../ballot/manifest.ts";
import { testLogKey, testManifest } from "../ballot/test-manifest.ts";
import { utf8 } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { type ErrorKind, ServiceError } from "../core/errors.ts";
import { electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { verifierKey } from "../tlog/note-verifier.ts";
import { createElectionService } from "./election-service.ts";
import { TestVoteService, testPromises } from "./test-vote-service.ts";

const NO_BYTES = new Uint8Array(0);

let services: TestVoteService;
let service: ReturnType<typeof createElectionService>;

beforeEach(() => {
  services = new TestVoteService();
  service = createElectionService({ ...services, timeoutMs: 1_000, clock: systemClock });
});
afterEach(() => services[Symbol.asyncDispose]());

const context: HandlerContext = createHandlerContext({
  service: ElectionService,
  method: ElectionService.method.getElection,
  protocolName: "grpc",
  requestMethod: "POST",
  url: "https://test/",
});

const createElection = async (manifest: Uint8Array) =>
  (await service.createElection(create(CreateElectionRequestSchema, { manifest }), context)).election;
const getElection = async (id: string) =>
  (await service.getElection(create(GetElectionRequestSchema, { electionId: id }), context)).election;
const closeElection = async (id: string) =>
  (await service.closeElection(create(CloseElectionRequestSchema, { electionId: id }), context)).election;

const castVote = (voterId: string, election = "test-1") =>
  services.caster.cast(
    create(CastVoteRequestSchema, {
      electionId: election,
      voterId,
      requestId: "1",
      choice: { case: "candidateId", value: "a" },
    }),
  );

async function refusalOf(answer: Promise<unknown>): Promise<ServiceError> {
  const error = await answer.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused with a ServiceError", { cause: error });
}

describe("promises", () => {
  const request = create(GetPromiseKeyRequestSchema);

  test("GetPromiseKey answers the key that a manifest may name", async () => {
    const { publicKey } = await service.getPromiseKey(request, context);
    expect(testPromises().key).toBe(verifierKey("psephos.test/test-1/promise", 1, publicKey ?? NO_BYTES));
    await createElection(encodeManifest(testManifest({ promises: testPromises() })));
  });

  test("a manifest with another key is refused, and stores nothing", async () => {
    const key = testLogKey("psephos.test/test-1/promise", "another's");
    const manifest = testManifest({ promises: { key, delaySeconds: 60 } });
    const { reason, fields } = await refusalOf(createElection(encodeManifest(manifest)));
    expect([reason, fields.map(({ field }) => field)]).toEqual([
      "INVALID_MANIFEST",
      ["manifest.promise_key"],
    ]);
    expect((await refusalOf(getElection("test-1"))).kind).toBe("not-found");
  });

  test("a service without a key says so, and creates no election that needs one", async () => {
    const { promiseKey: _, ...others } = services;
    service = createElectionService({ ...others, timeoutMs: 1_000, clock: systemClock });
    const answer = async () => service.getPromiseKey(request, context);
    expect(await refusalOf(answer())).toMatchObject({ kind: "not-found", reason: "NO_PROMISE_KEY" });
    const manifest = encodeManifest(testManifest({ promises: testPromises() }));
    expect((await refusalOf(createElection(manifest))).reason).toBe("INVALID_MANIFEST");
  });
});

describe("CreateElection", () => {
  test("stores the manifest's bytes and answers with what they fix", async () => {
    const bytes = encodeManifest(testManifest());
    expect(await createElection(bytes)).toEqual({
      electionId: "test-1",
      manifest: bytes,
      manifestHash: sha256(bytes),
      state: ElectionState.OPEN,
      createdAt: { seconds: 1_600_000_000n, nanos: 1_000 },
      votes: 0n,
    });
  });

  test("votes can be cast at once, although the election was asked for before", async () => {
    expect((await refusalOf(castVote("early"))).kind).toBe("not-found");
    await createElection(encodeManifest(testManifest()));
    await castVote("voter");
  });

  test("the same again is success, another manifest under the id is not", async () => {
    const manifest = testManifest();
    await createElection(encodeManifest(manifest));
    await castVote("voter");
    expect(await createElection(encodeManifest(manifest))).toMatchObject({ votes: 1n });
    const error = await refusalOf(createElection(encodeManifest({ ...manifest, title: "Another" })));
    expect(error.kind).toBe("already-exists");
  });

  test("every problem of a manifest is listed, and nothing is stored", async () => {
    const json = JSON.parse(new TextDecoder().decode(encodeManifest(testManifest())));
    const bad = { ...json, shards: 0, revoting: "always", closes_at: -1, surprise: 1 };
    const error = await refusalOf(createElection(utf8(JSON.stringify(bad))));
    expect(error.kind).toBe("invalid-argument");
    expect(error.fields.map(({ field }) => field).sort()).toEqual([
      "manifest.closes_at",
      "manifest.revoting",
      "manifest.shards",
      "manifest.surprise",
    ]);
    expect(await service.listElections(create(ListElectionsRequestSchema), context)).toEqual({
      elections: [],
    });
  });

  test.each([
    ["nothing", new Uint8Array(0)],
    ["no JSON", utf8("{")],
    ["not UTF-8", Uint8Array.of(0x7b, 0xff, 0x7d)],
    ["more than 1 MiB", new Uint8Array((1 << 20) + 1)],
  ])("%s is INVALID_ARGUMENT", async (_name, bytes) => {
    const error = await refusalOf(createElection(bytes));
    expect([error.kind, error.fields[0]?.field]).toEqual(["invalid-argument", "manifest"]);
  });

  test("a tally key that nothing can be sealed to is refused before there is a vote", async () => {
    // The all-zero point: every shared secret with it is zero (RFC 7748 section 6.1).
    const error = await refusalOf(
      createElection(encodeManifest(testManifest({ tallyKey: new Uint8Array(32) }))),
    );
    expect(error.fields).toEqual([
      { field: "manifest.tally_key", description: "is not a usable X25519 public key" },
    ]);
  });
});

describe("an election", () => {
  beforeEach(() => void services.router.add(testManifest()));

  test("shows how many votes it has, over all shards", async () => {
    for (let i = 0; i < 40; i++) await castVote(`voter-${i}`);
    expect(await getElection("test-1")).toMatchObject({ votes: 40n, state: ElectionState.OPEN });
  });

  test("closes, again and again, and refuses votes from then on", async () => {
    await castVote("voter");
    for (let i = 0; i < 2; i++) {
      expect(await closeElection("test-1")).toMatchObject({ votes: 1n, state: ElectionState.CLOSED });
    }
    expect(services.elections.fresh(electionId("test-1"))?.closingSince).toEqual(expect.any(Number));
    expect((await refusalOf(castVote("late"))).reason).toBe("CLOSED");
    expect(await getElection("test-1")).toMatchObject({ votes: 1n });
  });

  test("a count without some of the shards would be a wrong one", async () => {
    services.router.down.add(3);
    const error = await refusalOf(getElection("test-1"));
    expect([error.kind, error.retryDelayMs]).toEqual(["unavailable", 1_000]);
  });

  test("many are listed in order of id, each with its own votes", async () => {
    for (let i = 0; i < 20; i++)
      services.router.add(testManifest({ electionId: electionId(`a-${String(i).padStart(2, "0")}`) }));
    await castVote("voter", "a-07");
    const { elections = [] } = await service.listElections(create(ListElectionsRequestSchema), context);
    expect(elections).toHaveLength(21);
    expect(elections.map(({ electionId }) => electionId)).toEqual(
      elections.map(({ electionId }) => electionId).sort(),
    );
    expect(elections.filter(({ votes }) => votes !== 0n).map(({ electionId }) => electionId)).toEqual([
      "a-07",
    ]);
  });
});

test.each(["", "Not an id", "x".repeat(64)])("%j is no election's id", async (id) => {
  for (const call of [getElection, closeElection]) {
    const error = await refusalOf(call(id));
    expect([error.kind, error.fields[0]?.field]).toEqual(["invalid-argument", "election_id"]);
  }
});

test("an unknown one is NOT_FOUND", async () => {
  for (const call of [getElection, closeElection]) {
    expect((await refusalOf(call("unknown"))).reason).toBe("UNKNOWN_ELECTION");
  }
});

test("ShardRouter's outages are UNAVAILABLE, and what it refuses us is our fault", async () => {
  services.router.add(testManifest());
  const fail = (kind: ErrorKind) => {
    services.router.onCall = () => {
      throw new ServiceError(kind, "what ShardRouter says to its own callers");
    };
    return getElection("test-1");
  };
  for (const kind of ["unavailable", "deadline-exceeded", "cancelled"] as const) {
    const error = await refusalOf(fail(kind));
    expect([error.kind, error.message]).toEqual(["unavailable", "the vote store cannot be reached"]);
  }
  for (const kind of ["permission-denied", "internal", "data-loss"] as const) {
    // No ServiceError: it is logged with its cause, and the caller reads INTERNAL.
    await expect(fail(kind)).rejects.toThrow(new Error("a call to ShardRouter failed"));
  }
});

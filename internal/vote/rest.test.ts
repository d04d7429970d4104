import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { manifestHash } from "../ballot/manifest.ts";
import { testManifest } from "../ballot/test-manifest.ts";
import { ServiceError } from "../core/errors.ts";
import { electionId, voteIdOf } from "../core/ids.ts";
import { parsePromise, verifyPromise } from "../receipt/promise.ts";
import { castOverRest } from "./rest.ts";
import { TestVoteService, testPromises } from "./test-vote-service.ts";

const GOOD = { election_id: "test-1", voter_id: "voter-1", candidate_id: "a" };

let services: TestVoteService;
beforeEach(() => {
  services = new TestVoteService();
  services.router.add(testManifest());
});
afterEach(() => services[Symbol.asyncDispose]());

const post = (body: unknown, key?: string) =>
  castOverRest(services.caster, { body, header: (name) => (name === "idempotency-key" ? key : undefined) });

async function refusalOf(answer: Promise<unknown>): Promise<ServiceError> {
  const error = await answer.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused with a ServiceError", { cause: error });
}

test("a vote is recorded and gets its number", async () => {
  const reply = await post(GOOD);
  expect(reply).toEqual({ status: 201, body: { vote_id: expect.any(Number), status: "recorded" } });
  expect(Number.isSafeInteger(reply.body.vote_id)).toBe(true);
});

test("in an election with promises, the answer has the promise as a file", async () => {
  const promises = testPromises("test-2");
  const manifest = services.router.add(testManifest({ electionId: electionId("test-2"), promises }));
  const { body } = await post({ ...GOOD, election_id: "test-2" });
  const promise = parsePromise(body.promise ?? "");
  const verified = verifyPromise({ promise, manifest, manifestHash: manifestHash(manifest) });
  expect(verified).toMatchObject({ electionId: "test-2", delaySeconds: 60, batchSize: 1 });
  const { shard, sequence } = verified.entry;
  expect(body.vote_id).toBe(voteIdOf(shard, sequence, 16));
});

test("with an Idempotency-Key the same call gets the same answer, without one it is a second vote", async () => {
  const first = await post(GOOD, "key-1");
  expect(await post(GOOD, "key-1")).toEqual(first);
  expect((await refusalOf(post(GOOD, "key-2"))).reason).toBe("ALREADY_VOTED");
  expect((await refusalOf(post(GOOD))).reason).toBe("ALREADY_VOTED");
  expect(services.router.records("test-1")).toHaveLength(1);
});

test.each([
  ["", "must not be empty"],
  ["k".repeat(257), "must be at most 256 bytes of UTF-8"],
  ["two words", "must be visible ASCII"],
  ["caf\u00e9", "must be visible ASCII"],
])("%j is no Idempotency-Key", async (key, description) => {
  expect((await refusalOf(post(GOOD, key))).fields).toEqual([{ field: "Idempotency-Key", description }]);
});

test.each([
  [null, ["body"]],
  ["text", ["body"]],
  [[GOOD], ["body"]],
  [{}, ["election_id", "voter_id", "candidate_id"]],
  [{ ...GOOD, voter_id: 7 }, ["voter_id"]],
  [{ ...GOOD, voter_id: null }, ["voter_id"]],
  [{ ...GOOD, candidate_id: ["a"] }, ["candidate_id"]],
  [{ ...GOOD, request_id: "r" }, ["body"]],
  [{ ...GOOD, voter_id: "" }, ["voter_id"]],
  [{ ...GOOD, voter_id: "v".repeat(257) }, ["voter_id"]],
  [{ ...GOOD, voter_id: "\ud83d" }, ["voter_id"]],
  [{ ...GOOD, election_id: "Test 1" }, ["election_id"]],
  [{ ...GOOD, candidate_id: "nobody" }, ["candidate_id"]],
  [
    JSON.parse('{"__proto__":{"election_id":"test-1"},"voter_id":"v","candidate_id":"a"}'),
    ["election_id", "body"],
  ],
])("%j is refused with its fields", async (body, fields) => {
  const error = await refusalOf(post(body));
  expect([error.kind, error.fields.map(({ field }) => field)]).toEqual(["invalid-argument", fields]);
  expect(services.router.batches).toHaveLength(0);
});

test("whatever the body is, it is recorded or refused in words of our own", async () => {
  const texts = fc.oneof(fc.constantFrom("test-1", "a", "b", ""), fc.string({ unit: "grapheme" }));
  const bodies = fc.oneof(
    fc.jsonValue(),
    fc.record({ election_id: texts, voter_id: texts, candidate_id: texts }, { requiredKeys: [] }),
    fc.record({
      election_id: fc.constant("test-1"),
      voter_id: texts,
      candidate_id: fc.constantFrom("a", "b"),
    }),
  );
  await fc.assert(
    fc.asyncProperty(bodies, fc.option(fc.string(), { nil: undefined }), async (body, key) => {
      const outcome = await post(body, key).catch((error: unknown) => error);
      if (outcome instanceof ServiceError) {
        expect(["invalid-argument", "not-found", "already-exists"]).toContain(outcome.kind);
        // Values of some length, which no text of ours contains by chance.
        for (const text of JSON.stringify(body).match(/[^"\\]{14,}/g) ?? [])
          expect(outcome.message).not.toContain(text);
      } else {
        expect(outcome).toMatchObject({ status: 201 });
      }
    }),
    { numRuns: 300 },
  );
});

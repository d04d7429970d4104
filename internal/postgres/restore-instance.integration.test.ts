// All on one server, which takes longer to start than the tests to run.
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { VoteRecord } from "../ballot/record.ts";
import { electionId, sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { PostgresRestoreInstance } from "./restore-instance.ts";
import { silent, TestPostgres } from "./test-postgres.ts";

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await TestPostgres.start(1);
});
afterAll(() => postgres[Symbol.asyncDispose]());

beforeEach(async () => {
  await postgres.query("postgres", "TRUNCATE elections, records");
  await postgres.query("postgres", "GRANT CONNECT ON DATABASE psephos TO psephos_router, psephos_audit");
});

async function open(): Promise<PostgresRestoreInstance> {
  const { role: _, ...connection } = await postgres.connection("psephos_owner");
  return new PostgresRestoreInstance({ connection, logger: silent });
}

const knock = () => postgres.query("psephos_router", "SELECT 1");
const DENIED = "permission denied for database";

describe("shutting the services out", () => {
  test("says whether they were in, and another process finds them out", async () => {
    {
      await using first = await open();
      expect(await first.shutOut()).toBe(true);
      await expect(knock()).rejects.toThrow(DENIED);
    }
    await using second = await open();
    expect(await second.shutOut()).toBe(false);
    await second.admit();
    await knock();
  });

  test("keeps other restores out however long nothing is done, and changes nothing for them", async () => {
    await using first = await open();
    await first.shutOut();
    await first.findElections();
    // As the pool lets go of what is idle for ten seconds: at the question whether to go on, everybody is slower.
    await postgres.query(
      "postgres",
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'psephos_owner'
         AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')`,
    );
    await using second = await open();
    await expect(second.shutOut()).rejects.toMatchObject({
      kind: "failed-precondition",
      reason: "RESTORE_RUNNING",
    });
    await expect(knock()).rejects.toThrow(DENIED);
    await first.admit();
    await knock();
  });

  test("that lost its session writes nothing and lets nobody in", async () => {
    await using instance = await open();
    await instance.shutOut();
    await postgres.query(
      "postgres",
      "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'",
    );
    await expect(instance.putIndexesOff()).rejects.toMatchObject({ kind: "unavailable" });
    await expect(instance.admit()).rejects.toMatchObject({ kind: "unavailable" });
    await expect(knock()).rejects.toThrow(DENIED);
  });

  test("is refused where anybody may connect, and says what to do", async () => {
    await postgres.query("postgres", "GRANT CONNECT ON DATABASE psephos TO PUBLIC");
    try {
      await using instance = await open();
      await expect(instance.shutOut()).rejects.toMatchObject({
        kind: "failed-precondition",
        message: expect.stringContaining('REVOKE CONNECT ON DATABASE "psephos" FROM PUBLIC'),
      });
    } finally {
      await postgres.query("postgres", "REVOKE CONNECT ON DATABASE psephos FROM PUBLIC");
    }
    await knock(); // It has its own right again.
  });

  test("is refused while a service is connected, which keeps its right", async () => {
    const working = postgres.query("psephos_router", "SELECT pg_sleep(3)");
    await sleep(500);
    await using instance = await open();
    await expect(instance.shutOut()).rejects.toThrow("psephos_router is connected to instance pg0");
    await knock();
    await working;
  });
});

function recordOf(number: number, voterPseudonym: Uint8Array): VoteRecord {
  return {
    ...{ shard: shardId(3), sequence: sequence(number), voterPseudonym, revision: 1, castAt: number },
    ...{ sealedChoice: randomBytes(63), hash: sha256(randomBytes(8)) },
  };
}

test("two records with one voter and revision are named when the rule cannot be kept", async () => {
  await using instance = await open();
  await instance.shutOut();
  await instance.putIndexesOff();
  const twice = randomBytes(32);
  const voters = [randomBytes(32), twice, randomBytes(32), twice];
  await instance.insert(
    6,
    voters.map((voter, index) => recordOf(index + 1, voter)),
  );
  await expect(instance.index()).rejects.toThrow(
    /break the rule records_voter .*: sequences 2 and 4 of shard 3 \(election number 6\)/,
  );
  await postgres.query("postgres", "DELETE FROM records WHERE sequence = 4");
  await instance.index();
});

test("the next election gets a number above all that any instance has", async () => {
  await using instance = await open();
  const election = {
    ...{ election: 2, electionId: electionId("town"), manifestBytes: randomBytes(8), placement: ["pg0"] },
    ...{ state: "creating" as const, createdAt: 1 },
  };
  await instance.addElection(election, 7);
  const [next] = await postgres.query<{ election: number }>(
    "psephos_router",
    `INSERT INTO elections (election_id, manifest, placement, created_at) VALUES ('next', '\\x00', '{pg0}', 1)
     RETURNING election`,
  );
  expect(next?.election).toBe(8);
});

// What was there at a moment: a voter changes their vote, and the count, the evidence in SQL and AuditService tell the same
// before and after, over real services.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { fromHex, toHex } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { psephos, writeProfile } from "./cli-fixture.ts";
import { refusalOf, TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
let folder: TemporaryFolder;
/** A moment after everybody's first vote and before alice's second, in ISO 8601. */
let between: string;
/** Alice's pseudonym, in hex. */
let alice: string;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  stack = await TestStack.start();
  await writeProfile(stack, folder.path, { election: electionId("town") });
  await json(
    ...["election", "create", "town", "--title", "Town", "--choice", "ada=Ada", "--choice", "bob=Bob"],
    ...["--revoting", "last-counts", "--trustees-out", "trustees"],
  );
  for (const voter of ["alice", "ben", "cleo"]) await json("cast", "--voter", voter, "--candidate", "ada");
  between = new Date().toISOString();
  await new Promise((resolve) => setTimeout(resolve, 5));
  await json("cast", "--voter", "alice", "--candidate", "bob");
  await json("election", "close");
  await until("the log is public", async () => (await json("status")).published_size === 6);
  await until(
    "its last block is signed",
    async () => (await query("SELECT * FROM checkpoints")).length === 1,
  );
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

async function lines(...args: string[]) {
  const { status, stdout, stderr } = await psephos([...args, "--json"], {
    cwd: folder.path,
    env: { PSEPHOS_HOME: folder.path },
  });
  expect(status, stderr).toBe(0);
  const text = stdout.trimEnd();
  return text === "" ? [] : text.split("\n").map((line) => JSON.parse(line));
}

async function json(...args: string[]) {
  return (await lines(...args))[0];
}

const query = (sql: string, ...options: string[]) => lines("query", ...options, sql);

test("SQL shows every revision, and the state at a moment", async () => {
  const voters = "SELECT count(*) AS votes, count(DISTINCT voter) AS voters FROM votes";
  expect(await query(voters)).toEqual([{ votes: 4, voters: 3 }]);
  expect(await query(voters, "--as-of", between)).toEqual([{ votes: 3, voters: 3 }]);
  expect(await query(voters, "--checkpoint", "1")).toEqual([{ votes: 4, voters: 3 }]);
  const [again] = await query("SELECT voter FROM votes WHERE revision = 2");
  alice = again.voter;
  const history = await query(`SELECT revision FROM votes WHERE voter = '${alice}' ORDER BY log_index`);
  expect(history).toEqual([{ revision: 1 }, { revision: 2 }]);
});

test("the count as of a moment has the vote that was changed later", async () => {
  const shares = ["--share", join("trustees", "share-1.json"), join("trustees", "share-2.json")];
  expect(await json("tally", ...shares)).toMatchObject({ counts: { ada: 2, bob: 1 }, voters: 3, records: 4 });
  const then = await json("tally", ...shares, "--as-of", between);
  expect(then).toMatchObject({ counts: { ada: 3, bob: 0 }, voters: 3, records: 3 });
  expect(Date.parse(then.as_of)).toBe(Date.parse(between));
});

describe("AuditService", () => {
  test("tells a pseudonym's history, to auditors", async () => {
    const audit = await stack.client(AuditService, "auditor/local");
    const voterPseudonym = fromHex(alice);
    const { records, more } = await audit.getHistory({ electionId: "town", voterPseudonym });
    expect(more).toBe(false);
    expect(records.map(({ revision }) => revision)).toEqual([1, 2]);
    for (const record of records) expect(toHex(record.voterPseudonym)).toBe(alice);
    const later = await audit.getHistory({ electionId: "town", voterPseudonym, afterRevision: 1 });
    expect(later.records).toEqual(records.slice(1));
    const nobody = await audit.getHistory({ electionId: "town", voterPseudonym: new Uint8Array(32) });
    expect(nobody.records).toEqual([]);
    for (const other of ["operator/local", "client/local"]) {
      const refused = (await stack.client(AuditService, other)).getHistory({
        electionId: "town",
        voterPseudonym,
      });
      expect(await refusalOf(refused)).toMatchObject({ kind: "permission-denied" });
    }
    const router = await stack.client(ShardRouterService, "auditor/local");
    const found = router.findRecords({ electionId: "town", voterPseudonym });
    expect(await refusalOf(found)).toMatchObject({ kind: "permission-denied" });
  });

  test("tells the turnout at a moment, to operators and auditors", async () => {
    const asOfMicros = BigInt(Date.parse(between)) * 1000n;
    for (const caller of ["operator/local", "auditor/local"]) {
      const audit = await stack.client(AuditService, caller);
      expect(await audit.getTurnout({ electionId: "town" })).toMatchObject({
        votes: 4n,
        voters: 3n,
        treeSize: 6n,
      });
      expect(await audit.getTurnout({ electionId: "town", asOfMicros })).toMatchObject({
        votes: 3n,
        voters: 3n,
      });
    }
    const client = await stack.client(AuditService, "client/local");
    expect(await refusalOf(client.getTurnout({ electionId: "town" }))).toMatchObject({
      kind: "permission-denied",
    });
  });

  test("lists the records of a range, to auditors", async () => {
    const audit = await stack.client(AuditService, "auditor/local");
    const indices: bigint[] = [];
    for await (const { records } of audit.listRecords({ electionId: "town", firstIndex: 2n, limit: 2 })) {
      indices.push(...records.map(({ index }) => index));
    }
    expect(indices).toEqual([2n, 3n]);
  });
});

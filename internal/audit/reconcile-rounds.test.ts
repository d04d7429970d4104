import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  HeadsResponseSchema,
  ReadChainResponseSchema,
  RunSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { VoteRecord } from "../ballot/record.ts";
import { ServiceError } from "../core/errors.ts";
import type { JsonObject } from "../evidence/event.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { AuditFixture, hastyClock, silentLogger } from "./audit-fixture.ts";
import { EventKey } from "./event-key.ts";
import { auditMetrics } from "./metrics.ts";
import { type ReconcileRoundsOptions, reconcileRounds } from "./reconcile-rounds.ts";

const KEY = new EventKey(new Uint8Array(32).fill(7));

let fixture: AuditFixture;
/** What the databases have, by shard. */
let rows: VoteRecord[][];
/** What ShardRouter found of the databases' rules, by instance. */
let guards: Record<string, string[]>;
let stop: AbortController;
let taken: JsonObject[];
let commit: (entries: readonly SegmentEntry[]) => Promise<void>;

beforeEach(async () => {
  fixture = await AuditFixture.create();
  stop = new AbortController();
  taken = [];
  guards = {};
  const log = await fixture.open();
  commit = async (entries) => {
    await log.commit(entries);
  };
  const { manifestHash } = fixture.election;
  await commit([{ type: "manifest", manifestHash }]);
  await commit(
    fixture.shards
      .cast(60)
      .flat()
      .map((record) => ({ type: "vote", record })),
  );
  rows = fixture.shards.records.map((records) => [...records]);
  return async () => {
    stop.abort();
    await fixture[Symbol.asyncDispose]();
  };
});
afterEach(() => stop.abort());

/** Runs rounds until `count` of them have ended. */
async function run(count: number, changes: Partial<ReconcileRoundsOptions> = {}): Promise<string> {
  const { election, stores, heads } = fixture;
  const metrics = new Metrics({ service: "test" });
  let ended = 0;
  const unused = () => Promise.reject(new Error("not asked"));
  await reconcileRounds({
    election,
    stores,
    router: {
      listElections: unused,
      getElection: unused,
      heads: async () =>
        create(HeadsResponseSchema, {
          guards: Object.entries(guards).map(([instance, broken]) => ({ instance, broken })),
        }),
      confirmSealed: unused,
      async *readChain({ shard = 0, firstSequence = 1n, limit = 0n }) {
        const first = Number(firstSequence);
        const all = rows[shard] ?? [];
        const found = all.filter(
          (row) => row.sequence >= first && (limit === 0n || row.sequence < first + Number(limit)),
        );
        found.forEach((row, i) => {
          if (row.sequence !== first + i) throw new ServiceError("data-loss", "a record is missing");
        });
        const records = found.map((record) => ({
          voterPseudonym: record.voterPseudonym,
          revision: record.revision,
          sealedChoice: record.sealedChoice,
          castAtMicros: BigInt(record.castAt),
          hash: record.hash,
        }));
        const run = create(RunSchema, { shard, firstSequence: BigInt(first), records });
        yield create(ReadChainResponseSchema, { run });
      },
    },
    head: () => heads.heads.get(election.electionId),
    recordEvent: async (details) => {
      taken.push(details);
      const note = KEY.sign(election.manifest, { kind: "reconciliation", at: 1, details });
      await commit([{ type: "event", note }]);
      return true;
    },
    recordsPerSecond: 1_000_000,
    pauseMs: 1,
    metrics: auditMetrics(metrics),
    clock: {
      ...hastyClock,
      sleep: async (ms) => {
        if (ms === 1 && ++ended === count) stop.abort();
      },
    },
    logger: silentLogger,
    signal: stop.signal,
    ...changes,
  });
  return metrics.render();
}

/** The same record with another choice, as a superuser would leave it. */
function change(shard: number, number: number): void {
  const row = rows[shard]?.[number - 1];
  if (row) rows[shard]?.splice(number - 1, 1, { ...row, sealedChoice: new Uint8Array(63) });
}

test("databases as they were sealed: counted, and nothing is said", async () => {
  const text = await run(2);
  expect(taken).toEqual([]);
  expect(text).toMatch(/psephos_audit_reconciled_records_total\S* 120/);
  expect(text).toMatch(/psephos_audit_differences\S* 0/);
});

test("what is found becomes an event once, however many rounds and processes see it", async () => {
  change(1, 3);
  rows[2]?.splice(4, 2);
  const text = await run(3);
  expect(taken).toEqual([
    {
      differences: [
        { kind: "changed", shard: 1, sequence: 3, last_sequence: 3, checkpoint: 1 },
        { kind: "missing", shard: 2, sequence: 5, last_sequence: 6, checkpoint: 1 },
      ],
      broken_guards: [],
      more: 0,
    },
  ]);
  expect(text).toMatch(/psephos_audit_differences\{\S*\} 2/);
  expect(text).toMatch(/psephos_audit_found_differences_total\{\S*kind="changed"\S*\} 1/);

  stop = new AbortController();
  change(0, 1);
  await run(2);
  expect(taken.slice(1)).toMatchObject([{ differences: [{ kind: "changed", shard: 0, sequence: 1 }] }]);
});

test("a rule that is switched off becomes an event once, however many rounds and processes see it", async () => {
  const [voter, chain] = ["records_voter of records", "records_chain of records"];
  guards = { pg0: [], pg1: [voter] };
  const text = await run(3);
  expect(taken).toEqual([{ differences: [], broken_guards: [{ instance: "pg1", guard: voter }], more: 0 }]);
  expect(text).toMatch(/psephos_audit_broken_guards\{\S*instance="pg0"\S*\} 0/);
  expect(text).toMatch(/psephos_audit_broken_guards\{\S*instance="pg1"\S*\} 1/);
  expect(text).toMatch(/psephos_audit_found_differences_total\{\S*kind="guard"\S*\} 1/);

  // A difference beside what is in the log already, and the same rule on another instance.
  stop = new AbortController();
  change(0, 1);
  guards = { pg0: [voter], pg1: [voter, chain] };
  await run(2);
  expect(taken.slice(1)).toMatchObject([
    {
      differences: [{ kind: "changed", shard: 0, sequence: 1 }],
      broken_guards: [
        { instance: "pg0", guard: voter },
        { instance: "pg1", guard: chain },
      ],
    },
  ]);
});

test("databases whose rules nobody has looked at are not counted as having kept them", async () => {
  expect(await run(1)).not.toMatch(/psephos_audit_broken_guards\{/);
  expect(taken).toEqual([]);
});

test("however many rows and rules are broken, and whatever their names, the event has room", async () => {
  for (let shard = 0; shard < rows.length; shard++)
    rows[shard] = (rows[shard] ?? []).map((row) => ({ ...row, revision: 9 }));
  guards = {
    ["p".repeat(63)]: Array.from(
      { length: 100 },
      (_, i) => `the constraint ${"\u0001".repeat(63)}${i} of election_copies`,
    ),
  };
  await run(2);
  const [event] = taken;
  expect(taken).toHaveLength(1);
  expect(event).toMatchObject({ broken_guards: { length: 10 }, more: expect.any(Number) });
});

test("rows after the sealed ones are compared, too", async () => {
  const [vote] = fixture.shards.cast(1).flat();
  if (!vote) throw new RangeError("no vote");
  rows[vote.shard]?.push(vote);
  await run(1);
  expect(taken).toEqual([]); // Not sealed yet, and on the chain.

  stop = new AbortController();
  change(vote.shard, vote.sequence);
  await run(1);
  const { shard, sequence } = vote;
  expect(taken).toMatchObject([{ differences: [{ kind: "unsealed", shard, sequence }] }]);
});

test("an event that was not taken is said again", async () => {
  change(1, 3);
  let asked = 0;
  await run(3, { recordEvent: async () => ++asked > 1 });
  expect(asked).toBe(2);
});

test("a database that cannot be read is no difference, and rounds go on", async () => {
  let failures = 0;
  const router = {
    readChain: () => {
      failures++;
      throw new ServiceError("unavailable", "down");
    },
  } as unknown as ReconcileRoundsOptions["router"]; // Nothing else is asked.
  const text = await run(3, { router });
  expect(failures).toBe(3);
  expect(taken).toEqual([]);
  expect(text).not.toMatch(/psephos_audit_differences\{/);
});

import { describe, expect, test } from "vitest";
import { genesisHash } from "../ballot/record.ts";
import { sequence, shardId, treeSize } from "../core/ids.ts";
import type { ElectionState, StoredElection } from "../shard/ports.ts";
import { EMPTY_ROOT } from "../tlog/tree.ts";
import { TestLog } from "../verify/test-log.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { openEvidence } from "./election-evidence.ts";
import { ElectionTarget, electionIn, highestIn } from "./election-target.ts";
import type { FoundElections, FoundShard, RestoreInstance } from "./ports.ts";
import type { VerifiedLog } from "./verify-log.ts";

const { evidence: stored, electionId } = await TestLog.create({ commits: [5], open: true });
const store: Pick<ObjectStore, "get" | "list"> = {
  get: (key) => stored.read(key),
  list: (prefix) => stored.list(prefix),
};
const evidence = await openEvidence(store, electionId);
const { manifest, manifestBytes, manifestHash, log: keys } = evidence;
const shards = Array.from({ length: manifest.shards }, (_, shard) => shardId(shard));
const placement = shards.map((shard) => (shard % 2 === 0 ? "kept" : "lost"));

function electionOf(state: ElectionState): StoredElection {
  return { election: 1, electionId, manifestBytes, placement, state, createdAt: 1 };
}

/** An empty shard's end. */
function endOf(shard: FoundShard["shard"]) {
  return { shard, sequence: sequence(0), hash: genesisHash(manifestHash, shard), castAt: 0 };
}

/** A log without its closing entry. */
const log: VerifiedLog = {
  ...{ segments: [], size: treeSize(1), root: EMPTY_ROOT, closed: false, blocks: [] },
  ...{ heads: shards.map(endOf), keys, keyChanges: [] },
};

/** Of two instances one is left, all of its shards closed or not. */
async function target(state: ElectionState, closed: boolean): Promise<ElectionTarget> {
  const found = shards
    .filter((shard) => placement[shard] === "kept")
    .map((shard): FoundShard => {
      const genesis = genesisHash(manifestHash, shard);
      const head = { ...endOf(shard), election: 1, genesis, closed, sealedSequence: sequence(0) };
      return { shard, records: 0, last: sequence(0), head };
    });
  // Of the port, all that looking at what is there asks for.
  const instance = (name: string, has: FoundShard[]) =>
    [name, { name, findShards: async () => has } as unknown as RestoreInstance] as const;
  const instances = new Map([instance("kept", found), instance("lost", [])]);
  return ElectionTarget.open({ evidence, election: electionOf(state), instances });
}

describe("shards of an instance that was lost", () => {
  test("are closed where the election was, although its closing entry was not sealed", async () => {
    const closed = await target("closed", true);
    expect(closed.state(log)).toBe("closed");
    expect(closed.heads(log).map((head) => head.closed)).toEqual(shards.map(() => true));
  });

  test("are left for the closing to close where it had begun, and open where it had not", async () => {
    const closing = await target("closing", true);
    expect(closing.state(log)).toBe("closing");
    expect(closing.heads(log).map((head) => head.closed)).toEqual(placement.map((name) => name === "kept"));
    const open = await target("open", false);
    expect(open.state(log)).toBe("open");
    expect(open.heads(log).map((head) => head.closed)).toEqual(shards.map(() => false));
  });
});

describe("an election's number and placement", () => {
  const found = (parts: Partial<FoundElections>): FoundElections => ({
    ...{ elections: [], copies: [], highestNumber: 0 },
    ...parts,
  });
  const nowhere = () => {
    throw new Error("the placement map has no instance for it");
  };

  test("are those a database knows, whatever the placement map says now", () => {
    const databases = new Map([
      ["control", found({})],
      ["other", found({ copies: [electionOf("open")], highestNumber: 1 })],
    ]);
    expect(electionIn(databases, evidence, nowhere, [])).toMatchObject({ election: 1, placement });
    expect(() => electionIn(new Map(), evidence, nowhere, [])).toThrow("the placement map has no instance");
  });

  test("are new ones where none does, the number above all that any instance has", () => {
    const databases = new Map([
      ["control", found({ highestNumber: 2 })],
      ["other", found({ highestNumber: 7 })],
    ]);
    const fresh = () => ({ placement, createdAt: 5 });
    expect(electionIn(databases, evidence, fresh, [])).toMatchObject({ election: 8, createdAt: 5 });
    expect(electionIn(databases, evidence, fresh, [8, 9])).toMatchObject({ election: 10 });
    expect(highestIn(databases, [3])).toBe(7);
  });
});

import { expect, test } from "vitest";
import { electionId, voteId } from "../core/ids.ts";
import { checkpointKey, segmentKey, voteKey } from "../evidence/layout.ts";
import { measure } from "./measure.ts";

const ELECTION = electionId("test");

/** A store that says sizes, and counts how often it was asked for one. */
function storeOf(sizes: ReadonlyMap<string, number>) {
  let stats = 0;
  return {
    get stats() {
      return stats;
    },
    async *list(prefix: string) {
      for (const key of [...sizes.keys()].sort()) if (key.startsWith(prefix)) yield key;
    },
    async stat(key: string) {
      stats++;
      const bytes = sizes.get(key) ?? 0;
      const info = { key, versionId: "1", bytes, sha256: undefined, retention: null } as const;
      return { ...info, access: "available", storageClass: "STANDARD" } as const;
    },
  };
}

test("a small store is measured whole", async () => {
  const store = storeOf(
    new Map([
      [segmentKey(ELECTION, 0, 99), 5_000],
      [segmentKey(ELECTION, 100, 399), 15_000],
      [checkpointKey(ELECTION, 1), 700],
    ]),
  );
  expect(await measure(store, ELECTION)).toEqual({
    layout: "segments",
    measures: { segmentBytes: 50, segmentVotes: 200, checkpointBytes: 700 },
    objects: 3,
  });
});

test("of a large one, some of each kind from all over it, whatever comes first in it", async () => {
  const sizes = new Map<string, number>();
  // Four thousand segments come before the first vote, and the later half is larger.
  for (let i = 0; i < 4_000; i++) sizes.set(segmentKey(ELECTION, 2 * i, 2 * i + 1), i < 2_000 ? 100 : 300);
  for (let i = 1; i <= 8_000; i++) sizes.set(voteKey(ELECTION, 1, voteId(i)), 310);
  const store = storeOf(sizes);
  const { layout, measures, objects } = await measure(store, ELECTION);
  expect(layout).toBe("object-per-vote");
  expect(measures).toEqual({ segmentBytes: 100, segmentVotes: 2, voteBytes: 310 });
  expect(objects).toBe(1_400);
  expect(store.stats).toBe(1_400);
});

import { expect, test } from "vitest";
import { electionId } from "../../core/ids.ts";
import { restoreArchived } from "./restore-archived.ts";

const version = (key: string, versionId: string, storageClass = "STANDARD", deleteMarker = false) => ({
  key,
  versionId,
  storageClass,
  deleteMarker,
  latest: false,
  storedAt: new Date(0),
  bytes: 1,
});

const ACCESS = { a1: "archived", b1: "restoring", c1: "available", d1: "archived" } as const;

test("a copy is asked for of the first version of each archived object, and of no other", async () => {
  const requests: [string, string, number][] = [];
  const asked: string[] = [];
  const counts = await restoreArchived({
    electionId: electionId("town"),
    days: 3,
    onProgress: () => {},
    store: {
      async *listVersions(prefix) {
        expect(prefix).toBe("town/");
        yield version("town/a", "a3", "STANDARD", true);
        yield version("town/a", "a2");
        yield version("town/a", "a1", "GLACIER");
        yield version("town/b", "b1", "DEEP_ARCHIVE");
        yield version("town/c", "c1", "GLACIER");
        yield version("town/d", "d1", "GLACIER");
        yield version("town/e", "e1");
        yield version("town/f", "f1", "GLACIER", true);
      },
      async stat(key, versionId = "") {
        asked.push(versionId);
        const access = ACCESS[versionId as keyof typeof ACCESS]; // As listed above.
        return {
          key,
          versionId,
          bytes: 1,
          sha256: undefined,
          retention: null,
          access,
          storageClass: "GLACIER",
        };
      },
      async requestRestore(key, versionId, days) {
        requests.push([key, versionId, days]);
      },
    },
  });
  expect(asked).toEqual(["a1", "b1", "c1", "d1"]);
  expect(requests).toEqual([
    ["town/a", "a1", 3],
    ["town/d", "d1", 3],
  ]);
  expect(counts).toEqual({ requested: 2, restoring: 1, readable: 1 });
});

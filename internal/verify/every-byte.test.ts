import { beforeAll, describe, expect, test } from "vitest";
import { flip, TestLog } from "./test-log.ts";

/** One in so many bytes; each object begins at another one. A small number, and time, would try them all. */
const STRIDE = 7;

let log: TestLog;

beforeAll(async () => {
  log = await TestLog.create({ commits: [5, 7] });
});

/** Each byte to change, with another of its bits each time. */
function* changes(bytes: number, start: number) {
  for (let at = start % STRIDE; at < bytes; at += STRIDE) yield { at, bit: at % 8 };
}

describe("no changed byte goes unseen", () => {
  test("in what is public", async () => {
    for (const [number, path] of log.referenced.entries()) {
      for (const { at, bit } of changes(log.published.get(path)?.length ?? 0, number)) {
        const copy = log.clone();
        copy.published.edit(path, flip(at, bit));
        const { report } = await copy.verify();
        expect(
          report.problems.map(({ object }) => object),
          `${path}, byte ${at}`,
        ).toContain(path);
      }
    }
  });

  test("in the evidence", async () => {
    for (const [number, key] of [...log.evidence.keys()].entries()) {
      for (const { at, bit } of changes(log.evidence.get(key)?.length ?? 0, number)) {
        const copy = log.clone();
        copy.evidence.edit(key, flip(at, bit));
        const { report } = await copy.verify();
        const named = report.problems.map(({ object, problem }) => `${object} ${problem}`).join("\n");
        expect(named, `${key}, byte ${at}`).toContain(key);
        const { report: alone } = await copy.verify({ public: false });
        expect(alone.ok, `${key}, byte ${at}, without the public log`).toBe(false);
      }
    }
  });
});

import { beforeAll, describe, expect, test } from "vitest";
import { EVIDENCE_LAYOUTS } from "../evidence/layout.ts";
import type { VerificationReport } from "./report.ts";
import { flip, TestLog } from "./test-log.ts";

/** One in so many bytes; each object begins at another one. With 1, and some minutes, it is all of them. */
const STRIDE = 5;

/**
 * Two commits, and as many votes as the stride is wide: where each has an object of its own, each byte of its form is
 * changed in one of them. More would add time, by its square, and no byte of another kind.
 */
const COMMITS = [2, 3];

let log: TestLog;

beforeAll(async () => {
  log = await TestLog.create({ commits: COMMITS });
});

/** Each byte to change, with another of its bits each time. */
function* changes(bytes: number, start: number) {
  for (let at = start % STRIDE; at < bytes; at += STRIDE) yield { at, bit: at % 8 };
}

function named({ problems }: VerificationReport): string {
  return problems.map(({ object, problem }) => `${object}: ${problem}`).join("\n");
}

// What is public and what is evidence are each verified alone: together, more is checked and nothing less.
describe("no changed byte goes unseen", () => {
  test("in what is public", async () => {
    for (const [number, path] of log.referenced.entries()) {
      for (const { at, bit } of changes(log.published.get(path)?.length ?? 0, number)) {
        const copy = log.clone();
        copy.published.edit(path, flip(at, bit));
        const { report } = await copy.verify({ evidence: false });
        expect(named(report), `${path}, byte ${at}`).toContain(`${path}: `);
      }
    }
  }, 60_000);

  test.each(EVIDENCE_LAYOUTS)(
    "in the evidence, layout %s",
    async (layout) => {
      const log = await TestLog.create({ layout, commits: COMMITS });
      for (const [number, key] of [...log.evidence.keys()].entries()) {
        for (const { at, bit } of changes(log.evidence.get(key)?.length ?? 0, number)) {
          const copy = log.clone();
          copy.evidence.edit(key, flip(at, bit));
          const { report } = await copy.verify({ public: false });
          expect(named(report), `${key}, byte ${at}`).toContain(`${key}: `);
        }
      }
    },
    60_000,
  );
});

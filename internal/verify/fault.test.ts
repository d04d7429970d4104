import { expect, test } from "vitest";
import { EVIDENCE_LAYOUTS } from "../evidence/layout.ts";
import { ObjectStoreError } from "../worm/object-store.ts";
import { VerificationReport } from "./report.ts";
import { TestLog } from "./test-log.ts";
import { verifyEvidence } from "./verify-evidence.ts";

test.each(EVIDENCE_LAYOUTS)(
  "%s: a store that fails at any call is no problem of the evidence",
  async (layout) => {
    const { evidence, electionId } = await TestLog.create({ layout, commits: [5, 3] });
    const failure = new ObjectStoreError("unreachable", "ECONNREFUSED", "S3 cannot be reached");

    /** Verifies over a store whose call number `bad` fails; how many there were. */
    async function callsUntil(bad: number): Promise<number> {
      let calls = 0;
      const next = () => {
        if (++calls === bad) throw failure;
      };
      const report = new VerificationReport();
      const store = {
        get: async (key: string, version?: string) => {
          next();
          return evidence.read(key, version);
        },
        list(prefix: string) {
          next();
          return evidence.list(prefix);
        },
      };
      await verifyEvidence({ store, electionId, report });
      expect(report.problems).toEqual([]);
      return calls;
    }

    const calls = await callsUntil(0);
    expect(calls).toBeGreaterThan(5);
    for (let bad = 1; bad <= calls; bad++) await expect(callsUntil(bad), `${bad}`).rejects.toBe(failure);
  },
);

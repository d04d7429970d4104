import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take longest, the longest first. */
const LONGEST = [
  "internal/integration/start.test.ts",
  "internal/integration/cli.test.ts",
  "internal/integration/kills.test.ts",
  "deploy/local/stack.integration.test.ts",
  "cmd/publisher/publisher.integration.test.ts",
  "internal/publisher/crash.test.ts",
];

/**
 * Begins with the longest files, so that none of them runs on alone when all others are done. By itself vitest knows how
 * long a file takes only from an earlier run, which a fresh clone has not had.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const found = LONGEST.findIndex((name) => moduleId.endsWith(name));
      return found < 0 ? LONGEST.length : found;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

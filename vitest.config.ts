import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./.ci/longest-first.ts";
import { NODE_FLAGS } from "./deploy/local/service-process.ts";

/** It replaces a module of Node's, which nobody may have loaded before. */
const MOCKED = "internal/worm/directory-store.faults.test.ts";
const everywhere = "{.ci,cmd,deploy,internal}/**";

export default defineConfig({
  test: {
    // Processes, not threads: tests start children, whose lives are tied to a process. They run on the Node and with
    // the options the services run with.
    pool: "forks",
    execArgv: NODE_FLAGS,
    // By itself vitest leaves one core idle, which on two is half of them. Files that start servers have each their own,
    // on ports of their own, so that .ci/check.ts lets one more of those run.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: [`${everywhere}/*.test.ts`],
          exclude: ["**/*.integration.test.ts", "internal/integration/**", MOCKED],
          // Files share their processes and what these have loaded: a process for each takes a third of all the time.
          isolate: false,
          testTimeout: 30_000, // Property tests share two cores with a compiler.
        },
      },
      {
        extends: true,
        test: { name: "unit-mocked", include: [MOCKED], testTimeout: 30_000 },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: [`${everywhere}/*.integration.test.ts`, "internal/integration/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});

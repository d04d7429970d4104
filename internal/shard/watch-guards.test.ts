import { expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { ShardMetrics } from "./metrics.ts";
import { watchGuards } from "./watch-guards.ts";

const VOTER = "records_voter of records";
const CHAIN = "records_chain of records";

test("a rule that is switched off is counted as long as it is, and logged once", async () => {
  const down = new ServiceError("unavailable", "down");
  const looks = [down, [], [VOTER], down, [VOTER, CHAIN], [], [VOTER]];
  const metrics = new Metrics({ service: "test" });
  const stop = new AbortController();
  const counted: (string | undefined)[] = [];
  const said: string[] = [];
  const broken = new Map<string, readonly string[]>();
  const known: (readonly string[] | undefined)[] = [];
  await watchGuards({
    instance: "pg0",
    read: async () => {
      const found = looks.shift() ?? [];
      if (found instanceof Error) throw found;
      return found;
    },
    broken,
    everyMs: 1,
    metrics: new ShardMetrics(metrics),
    clock: {
      ...systemClock,
      sleep: async () => {
        known.push(broken.get("pg0"));
        counted.push(
          /psephos_shard_broken_guards\{.*instance="pg0".*\} (\d)/.exec(await metrics.render())?.[1],
        );
        if (looks.length === 0) stop.abort();
      },
    },
    logger: createLogger({
      service: "test",
      level: "error",
      destination: { write: (line) => void said.push(JSON.parse(line).message) },
    }),
    signal: stop.signal,
  });
  expect(counted).toEqual([undefined, "0", "1", "1", "2", "0", "1"]);
  // Nobody knew before the first look that succeeded.
  expect(known).toEqual([undefined, [], [VOTER], [VOTER], [VOTER, CHAIN], [], [VOTER]]);
  const sentence = (guard: string) => `${guard} is not as the migrations made it`;
  expect(said).toEqual([sentence(VOTER), sentence(CHAIN), sentence(VOTER)]);
});

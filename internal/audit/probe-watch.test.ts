import { expect, test } from "vitest";
import { Metrics } from "../telemetry/metrics.ts";
import { ObjectLockError } from "../worm/object-store.ts";
import { silentLogger } from "./audit-fixture.ts";
import { probeMetrics } from "./metrics.ts";
import { type CheckResult, type ProbeRun, ProbeWatch, type StoreProbe } from "./probe-watch.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const results = (
  verdicts: Readonly<Record<string, CheckResult["verdict"]>>,
  observed = "as it is",
): CheckResult[] => Object.entries(verdicts).map(([check, verdict]) => ({ check, verdict, observed }));

type Script = Readonly<Record<string, CheckResult["verdict"]>> | Error;

/** Probes as the script says; the time passes whenever the watch sleeps. Answers what happened until the script ended. */
async function watch(
  minimum: readonly string[],
  script: readonly Script[],
  observe: (run: number) => string = () => "as it is",
) {
  let runs = 0;
  const errors: unknown[] = [];
  const metrics = new Metrics({ service: "test" });
  const clock = { now: 0, slept: [] as number[] };
  const told: unknown[] = [];
  const lasting: boolean[] = [];
  const objections: (string | undefined)[] = [];
  const steps = script.values();
  const end = new AbortController();
  const probe: StoreProbe = {
    async run(options): Promise<ProbeRun> {
      runs++;
      lasting.push(options.lasting);
      const { value: step } = steps.next();
      if (step === undefined) throw new Error("the script has ended");
      if (step instanceof Error) throw step;
      return { results: results(step, observe(runs)), report: { at: clock.now } };
    },
  };
  const watched = new ProbeWatch({
    probe,
    intervalMs: HOUR,
    minimum,
    metrics: probeMetrics(metrics),
    clock: {
      nowMicros: () => clock.now * 1000,
      sleep: async (ms) => {
        clock.now += ms;
        clock.slept.push(ms / MINUTE);
        objections.push(watched.objection.current);
        if (watched.news.current !== undefined && watched.news.current !== told.at(-1)) {
          told.push(watched.news.current);
        }
        if (clock.slept.length === script.length) end.abort();
      },
    },
    logger: { ...silentLogger, error: (fields: unknown) => errors.push(fields) },
  });
  expect(watched.objection.current).toBe("the evidence store has not been probed yet");
  await watched.run(end.signal);
  return { objections, errors, told, lasting, slept: clock.slept, metrics: await metrics.render() };
}

test("nothing speaks against sealing once the minimum is seen to hold, whatever else does not", async () => {
  const { objections, told, slept, lasting, metrics } = await watch(
    ["delete"],
    [{ delete: "held", other: "broken" }, { delete: "held" }],
  );
  expect(objections).toEqual([undefined, undefined]);
  expect(slept).toEqual([60, 60]);
  expect(lasting).toEqual([true, false]);
  expect(told).toEqual([
    { minimum: ["delete"], passed: true, report: { at: 0 } },
    { minimum: ["delete"], passed: true, report: { at: HOUR } },
  ]);
  expect(metrics).toMatch(/psephos_worm_probe_broken\{check="other",.*\} 1/);
  expect(metrics).toMatch(/psephos_worm_probe_broken\{check="delete",.*\} 0/);
});

test("what of the minimum is broken speaks against it until a later probe, which is soon, passes", async () => {
  const { objections, told, slept } = await watch(
    ["delete"],
    [{ delete: "held" }, { delete: "broken" }, { delete: "broken" }, { delete: "held" }, { delete: "held" }],
  );
  const reason = "the evidence store failed its probe: delete (delete: as it is)";
  expect(objections).toEqual([undefined, reason, reason, undefined, undefined]);
  expect(slept).toEqual([60, 1, 1, 60, 60]);
  // Not each of the many that find the same, one a minute.
  expect(told).toMatchObject([
    { passed: true, report: { at: 0 } },
    { passed: false, report: { at: HOUR } },
    { passed: true, report: { at: HOUR + 2 * MINUTE } },
    { passed: true, report: { at: 2 * HOUR + 2 * MINUTE } },
  ]);
});

test("a failure whose words differ each time is told once, and shown in its newest words", async () => {
  const failing = Array<Script>(5).fill({ delete: "broken" });
  const { objections, told, errors } = await watch(
    ["delete", "bulk"],
    [
      { delete: "held", bulk: "held" },
      ...failing,
      { delete: "broken", bulk: "broken" },
      { delete: "held", bulk: "held" },
    ],
    (run) => `request ${run}`,
  );
  expect(told).toMatchObject([{ passed: true }, { passed: false }, { passed: false }, { passed: true }]);
  expect(errors).toHaveLength(2);
  expect(objections.slice(1, 6)).toEqual(
    failing.map((_, n) => `the evidence store failed its probe: delete (delete: request ${n + 2})`),
  );
});

test("what could not be found out changes nothing: neither from the start, nor later", async () => {
  const { objections, slept, metrics } = await watch(
    ["delete"],
    [new Error("away"), { delete: "error" }, { delete: "held" }, { delete: "error" }, new Error("away")],
  );
  expect(objections).toEqual([
    "away",
    "the evidence store has not been seen to hold yet: delete",
    undefined,
    undefined,
    undefined,
  ]);
  expect(slept).toEqual([5 / 60, 1, 60, 60, 5 / 60]);
  expect(metrics).toMatch(/psephos_worm_probe_errors_total\{check="delete",.*\} 2/);
  expect(metrics).toMatch(/psephos_worm_probe_failures_total\{.*\} 2/);
});

test("a store that does not lock is refused at once, whatever was seen before", async () => {
  const unlocked = new ObjectLockError("bucket b has no Object Lock");
  const { objections } = await watch(["delete"], [{ delete: "held" }, unlocked, { delete: "held" }]);
  expect(objections).toEqual([undefined, "bucket b has no Object Lock", undefined]);
});

test("what is not supported does not hold", async () => {
  const { objections } = await watch(["conditional"], [{ conditional: "not-supported" }]);
  expect(objections[0]).toMatch(/failed its probe: conditional/);
});

test("what leaves something behind is tried at start, and again only where nothing else is in the way", async () => {
  const { lasting, objections } = await watch(
    ["delete", "default"],
    [
      new Error("away"),
      { delete: "broken", default: "broken" },
      { delete: "broken" },
      { delete: "held" },
      { delete: "held", default: "held" },
      { delete: "held" },
    ],
  );
  expect(lasting).toEqual([true, true, false, false, true, false]);
  expect(objections.at(3)).toMatch(/default/);
  expect(objections.at(-1)).toBeUndefined();
});

import { expect, test } from "vitest";
import type { Clock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Availability } from "./availability.ts";

const logger = createLogger({ service: "test", level: "silent" });
const away = () => new ServiceError("unavailable", "away");

/** Time passes when told to. */
class StepClock implements Clock {
  readonly sleeps: number[] = [];
  #wake: (() => void)[] = [];
  nowMicros = () => 0;
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    return new Promise((resolve) => {
      this.#wake.push(resolve);
      signal?.addEventListener("abort", () => resolve());
    });
  }
  async step(): Promise<void> {
    for (const wake of this.#wake.splice(0)) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function start(probe: () => Promise<void>) {
  const clock = new StepClock();
  return { clock, availability: new Availability({ name: "pg0", probe, clock, logger }) };
}

test("a probe tells a dead connection from an instance that is down", async () => {
  let here = true;
  let probes = 0;
  const { clock, availability } = start(async () => {
    probes++;
    if (!here) throw away();
  });
  await availability.start();
  expect(probes).toBe(1);

  const failing = (times: number) => {
    let calls = 0;
    return async () => {
      if (calls++ < times) throw away();
      return "done";
    };
  };
  expect(await availability.run(failing(0))).toBe("done");
  expect(probes).toBe(1);
  expect(await Promise.all([availability.run(failing(1)), availability.run(failing(1))])).toEqual([
    "done",
    "done",
  ]);
  expect(probes).toBe(2);
  await expect(availability.run(failing(2))).rejects.toThrow("away");
  expect([probes, availability.up]).toEqual([3, true]);

  here = false;
  await expect(availability.run(failing(1))).rejects.toThrow("away");
  expect(availability.up).toBe(false);
  await expect(availability.run(failing(0))).rejects.toMatchObject({ reason: "INSTANCE_DOWN" });
  expect(probes).toBe(4);

  for (let probe = 0; probe < 7; probe++) await clock.step();
  expect(clock.sleeps).toEqual([100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]);
  here = true;
  await clock.step();
  expect(await availability.run(failing(0))).toBe("done");
  await availability[Symbol.asyncDispose]();
});

test("other failures are their caller's", async () => {
  const { availability } = start(async () => {});
  await availability.start();
  let calls = 0;
  const mistake = async () => {
    calls++;
    throw new ServiceError("failed-precondition", "no");
  };
  await expect(availability.run(mistake)).rejects.toThrow("no");
  expect([calls, availability.up]).toEqual([1, true]);
});

test("starting rejects when trying again cannot help, and stopping ends the probes", async () => {
  const broken = start(async () => {
    throw new ServiceError("failed-precondition", "wrong schema");
  });
  await expect(broken.availability.start()).rejects.toThrow("wrong schema");

  const { availability } = start(async () => {
    throw away();
  });
  await availability.start();
  expect(availability.up).toBe(false);
  await availability[Symbol.asyncDispose]();
});

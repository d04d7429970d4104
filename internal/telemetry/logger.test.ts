import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ServiceError } from "../core/errors.ts";
import { createLogger, type LogLevel } from "./logger.ts";

function capture(level: LogLevel = "debug") {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ service: "test-service", level, destination });
  return { logger, lines, only: () => JSON.parse(lines.length === 1 ? (lines[0] ?? "") : "null") };
}

test("a line is one JSON object with level, time, service and message", () => {
  const { logger, lines, only } = capture();
  logger.info({ election: "vermont-2020", size: 10_000 }, "head\ncommitted");
  expect(lines[0]).toMatch(/^\{[^\n]*\}\n$/);
  expect(only()).toMatchObject({
    level: "info",
    service: "test-service",
    pid: process.pid,
    election: "vermont-2020",
    size: 10_000,
    message: "head\ncommitted",
  });
  expect(only().time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("lines below the level are not written", () => {
  const { logger, lines } = capture("warn");
  logger.debug({}, "no");
  logger.info({}, "no");
  logger.warn({}, "yes");
  logger.error({}, "yes");
  logger.fatal({}, "yes");
  expect(lines.map((line) => JSON.parse(line).level)).toEqual(["warn", "error", "fatal"]);
});

test("a child adds its fields to each line", () => {
  const { logger, only } = capture();
  logger.child({ election: "e-1" }).child({ shard: 3 }).info({ sequence: 7 }, "gap");
  expect(only()).toMatchObject({ election: "e-1", shard: 3, sequence: 7 });
});

test("an error is written with its chain of causes, under any key", () => {
  const { logger, only } = capture();
  const socket = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
  const error = new ServiceError("unavailable", "the stream is down", {
    reason: "STREAM_DOWN",
    cause: new AggregateError([socket, "a string"], "all addresses failed", { cause: 17 }),
  });
  logger.warn({ problem: error }, "publish failed");
  const { problem } = only();
  expect(problem).toMatchObject({
    type: "ServiceError",
    message: "the stream is down",
    kind: "unavailable",
    reason: "STREAM_DOWN",
    cause: {
      type: "AggregateError",
      errors: [
        { type: "Error", message: "connect ECONNREFUSED", code: "ECONNREFUSED" },
        { type: "string", message: "a string" },
      ],
      cause: { type: "number", message: "17" },
    },
  });
  expect(problem.stack).toContain("logger.test.ts");
});

test.each(["error", "err"])("what a database puts beside the message is not written (%s)", (key) => {
  const { logger, lines } = capture();
  const violation = Object.assign(new Error("duplicate key value"), {
    code: "23505",
    detail: "Key (voter)=(planted) already exists.",
    parameters: ["planted"],
  });
  logger.error({ [key]: new Error("insert failed", { cause: violation }) }, "insert failed");
  expect(lines[0]).toContain("23505");
  expect(lines[0]).not.toContain("planted");
});

test("a cycle of causes ends", () => {
  const { logger, only } = capture();
  const error = new Error("ouroboros");
  error.cause = error;
  logger.error({ error }, "cycle");
  let depth = 0;
  for (let at = only().error; at !== undefined; at = at.cause) depth++;
  expect(depth).toBe(8);
});

test("lines go to standard error, and the last is there when the process dies at once", () => {
  const module = fileURLToPath(new URL("./logger.ts", import.meta.url));
  const script = `
    import { createLogger } from ${JSON.stringify(module)};
    createLogger({ service: "dying", level: "info" }).fatal({}, "last words");
    process.kill(process.pid, "SIGKILL");`;
  const run = () =>
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
      encoding: "utf8",
      stdio: "pipe",
    });
  expect(run).toThrowError(
    expect.objectContaining({ stdout: "", signal: "SIGKILL", stderr: expect.stringContaining("last words") }),
  );
});

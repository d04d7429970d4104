import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { createTerminal } from "./terminal.ts";

test("what a server sent cannot steer the terminal, and JSON stays the same JSON", () => {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const terminal = createTerminal(out, err);
  const hostile = "a\u001b[2J\u009b1A\rb\u007f";
  terminal.say(`one\n\t${hostile}`);
  expect(String(err.read())).toBe("one\n\ta\\u001b[2J\\u009b1A\\u000db\\u007f\n");
  terminal.data(JSON.stringify({ hostile }));
  const line = String(out.read());
  expect(line).not.toMatch(/\u009b|\u007f/);
  expect(JSON.parse(line)).toEqual({ hostile });
});

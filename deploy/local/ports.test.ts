import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LISTEN_ADDRESS, PortBook } from "./ports.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

test("a name keeps its port, in this run and in the next", async () => {
  await using folder = await TemporaryFolder.create();
  const file = join(folder.path, "ports.json");
  let ports: number[];
  {
    using book = await PortBook.open(file);
    ports = await Promise.all(["a", "b", "a"].map((name) => book.port(name)));
    expect(ports[0]).toBe(ports[2]);
    expect(ports[0]).not.toBe(ports[1]);
    expect(ports.every((port) => port >= 20_000 && port < 30_000)).toBe(true);
  }
  using book = await PortBook.open(file);
  expect(await book.port("b")).toBe(ports[1]);
  // A new name does not get the port of one that has not asked yet.
  expect(ports).not.toContain(await book.port("c"));
  expect(await book.port("a")).toBe(ports[0]);
});

test("a port that somebody else has taken meanwhile is given up", async () => {
  await using folder = await TemporaryFolder.create();
  const file = join(folder.path, "ports.json");
  let port: number;
  {
    using book = await PortBook.open(file);
    port = await book.port("a");
  }
  const squatter = createServer().listen(port, LISTEN_ADDRESS);
  await once(squatter, "listening");
  try {
    using book = await PortBook.open(file);
    expect(await book.port("a")).not.toBe(port);
  } finally {
    squatter.close();
  }
});

test("two runs at once get ports of their own, even from one file's memory", async () => {
  await using folder = await TemporaryFolder.create();
  const [one, two] = [join(folder.path, "one.json"), join(folder.path, "two.json")];
  using first = await PortBook.open(one);
  const port = await first.port("a");
  await writeFile(two, await readFile(one));
  using second = await PortBook.open(two);
  expect(await second.port("a")).not.toBe(port);
});

test("a file that makes no sense costs only the old ports", async () => {
  await using folder = await TemporaryFolder.create();
  const file = join(folder.path, "ports.json");
  await writeFile(file, '{"block": 10000');
  using book = await PortBook.open(file);
  expect(await book.port("a")).toBeGreaterThanOrEqual(20_000);
});

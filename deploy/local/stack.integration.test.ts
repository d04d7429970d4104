import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { hold, isAlive, untilDead } from "./held.ts";
import type { ServiceName } from "./service-configs.ts";
import { LocalStack } from "./stack.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const SERVICES: readonly ServiceName[] = ["shard-router", "publisher", "audit-service", "vote-service"];

async function answers(stack: LocalStack, name: ServiceName): Promise<boolean> {
  const url = `http://${stack.addresses.metrics[name]}/livez`;
  return fetch(url).then(
    (response) => response.ok,
    () => false,
  );
}

test("the services start, stop, are killed and start again, each by itself", async () => {
  await using folder = await TemporaryFolder.create();
  const crashes: Error[] = [];
  await using stack = await LocalStack.start({
    folder: folder.path,
    onUnexpectedExit: (error) => crashes.push(error),
    configure: { "vote-service": (config) => ({ ...config, log_level: "warn" }) },
  });
  const alone = async (name: ServiceName) => {
    for (const other of SERVICES) expect(await answers(stack, other), other).toBe(other !== name);
  };
  for (const name of SERVICES) {
    expect(await answers(stack, name), name).toBe(true);
    const service = stack.services[name];
    const before = service.pid;
    await service.kill();
    await alone(name);
    await service.start();
    expect(service.pid).not.toBe(before);
  }
  await stack.services.publisher.restart();
  expect(await answers(stack, "publisher")).toBe(true);
  expect(crashes).toEqual([]);
  expect(JSON.parse(await readFile(stack.services["vote-service"].configFile, "utf8"))).toHaveProperty(
    "log_level",
    "warn",
  );
});

test("a service with a configuration it does not take says what is wrong, and nothing is left running", async () => {
  await using folder = await TemporaryFolder.create();
  const configure = { publisher: (config: object) => ({ ...config, log_prefix: "no prefix" }) };
  // Its type allows the text; the service does not.
  const starting = LocalStack.start({ folder: folder.path, configure: configure as never });
  await expect(starting).rejects.toThrow(/publisher ended at once \(exit code 2\)[\s\S]*log_prefix/);
  // Its ports and its folder are free again, or this would fail.
  await using _stack = await LocalStack.start({ folder: folder.path });
});

test("starting can be given up", async () => {
  await using folder = await TemporaryFolder.create();
  const stop = new AbortController();
  const starting = LocalStack.start({ folder: folder.path, signal: stop.signal });
  stop.abort(new Error("Ctrl-C"));
  await expect(starting).rejects.toThrow("Ctrl-C");
});

test("no process survives the SIGKILL of the one that started it, and the next run goes on", async () => {
  await using folder = await TemporaryFolder.create();
  const { parent, pids } = await hold("stack", folder.path);
  expect(pids.filter(isAlive)).toHaveLength(7);
  parent.kill("SIGKILL");
  await untilDead(pids);
  await using stack = await LocalStack.start({ folder: folder.path, postgresInstances: 2 });
  for (const name of SERVICES) expect(await answers(stack, name)).toBe(true);
});

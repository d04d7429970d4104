import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "psephos-service-"));
afterAll(() => rmSync(folder, { recursive: true }));

const fixture = fileURLToPath(new URL("./run-service.fixture.ts", import.meta.url));
let runs = 0;

/** The fixture as a process, with all it writes. */
class Service {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";

  constructor(config: object, { flags = ["--tls-min-v1.3"] } = {}) {
    const path = join(folder, `${runs++}.json`);
    writeFileSync(path, JSON.stringify({ metrics_listen: "127.0.0.1:0", ...config }));
    this.child = spawn(process.execPath, [...flags, fixture, "--config", path], {
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    this.child.stdout?.on("data", (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr?.on("data", (chunk) => {
      this.stderr += chunk;
    });
  }

  async wrote(text: string): Promise<void> {
    await expect.poll(() => this.stderr, { timeout: 10_000 }).toContain(text);
  }

  async exitCode(): Promise<unknown> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, "close");
    return this.child.exitCode ?? this.child.signalCode;
  }
}

test.each(["SIGTERM", "SIGINT"] as const)("%s stops it in order", async (signal) => {
  const service = new Service({ behaviour: "good" });
  await service.wrote("serving");
  service.child.kill(signal);
  expect(await service.exitCode()).toBe(0);
  expect(service.stdout).toBe("disposed\n");
});

test.each([
  ["fails to start", 1, ""],
  ["fails later", 1, "disposed\n"],
  ["throws later", 1, ""],
  ["rejects later", 1, ""],
])("one that %s exits with %i", async (behaviour, code, stdout) => {
  const service = new Service({ behaviour });
  expect(await service.exitCode()).toBe(code);
  expect(service.stdout).toBe(stdout);
  expect(service.stderr).toContain('"level":"fatal"');
  expect(service.stderr).toContain("planted");
});

test("one that never starts can be stopped", async () => {
  const service = new Service({ behaviour: "never starts" });
  await service.wrote("starting");
  service.child.kill();
  expect(await service.exitCode()).toBe(0);
});

test("one that never stops is ended after its time", async () => {
  const service = new Service({ behaviour: "never stops" });
  await service.wrote("serving");
  service.child.kill();
  expect(await service.exitCode()).toBe(1);
  expect(service.stderr).toContain("not stopped within 500 ms");
});

test("wrong usage, a wrong configuration and TLS 1.2 are refused before anything begins", async () => {
  const wrong = new Service({ behaviour: "odd", nonsense: 1 });
  expect(await wrong.exitCode()).toBe(2);
  expect(wrong.stderr).toMatch(
    /^fixture: .*cannot be used:\n {2}behaviour: .*\n {2}nonsense: is not a known key\n$/,
  );

  const old = new Service({ behaviour: "good" }, { flags: [] });
  expect(await old.exitCode()).toBe(2);
  expect(old.stderr).toContain("fixture: run node with --tls-min-v1.3");
});

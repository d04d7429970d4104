// Everything that must hold before a change is taken: `npm test`, or `npm test -- types unit` for some of it. Prints each
// check as it ends, goes on after a failure, and ends with the line "N passed, N failed".
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { delimiter, join, relative } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { findChromium } from "../deploy/local/chromium.ts";
import { describeGoProgram, findGo, findGoProgram } from "../deploy/local/go-programs.ts";
import { findLitewitness } from "../deploy/local/litewitness.fixture.ts";
import { findNatsServer } from "../deploy/local/nats-binary.ts";
import { postgresBinaries } from "../deploy/local/postgres-binaries.ts";
import { findPython } from "../deploy/local/python.ts";
import { findS3Server, S3_IMPLEMENTATIONS } from "../deploy/local/s3-binaries.ts";
import { NODE_FLAGS } from "../deploy/local/service-process.ts";
import { GENERATED } from "./generated.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** In CI nothing may be left out because a program is missing. */
const CI = process.env.CI === "true";
/** The project's own programs first, and its own Node for those that are scripts. */
const ENV = { ...process.env, PATH: [join(ROOT, "node_modules", ".bin"), process.env.PATH].join(delimiter) };

interface Check {
  readonly name: string;
  /** Throws with what is wrong, or returns what is worth knowing. */
  readonly run: () => Promise<string>;
}

const QUICK: readonly Check[] = [
  program("format and lint", "biome", "ci", "--colors=off", "."),
  program("types", "tsc", "-p", "tsconfig.json"),
  program("types of the page", "tsc", "-p", "internal/page/tsconfig.json"),
  program("contracts lint", "buf", "lint"),
  program("contracts format", "buf", "format", "proto", "--diff", "--exit-code"),
  // Against the image of the contracts that was last accepted (`npm run accept-contracts`) and is committed beside this
  // file, not against a branch, of which a clone may have none: what changes callers changes that file, in plain sight.
  program("contracts compatible", "buf", "breaking", "proto", "--against", ".ci/contracts.binpb"),
];

/** What vitest's JSON reporter writes, as far as it is read here. */
const vitestReport = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  testResults: z.array(
    z.object({ name: z.string(), status: z.string(), assertionResults: z.array(z.unknown()) }),
  ),
});

const GENERATED_CODE = "generated code";

let passed = 0;
let failed = 0;

const only = process.argv.slice(2);
const wanted = (name: string) => only.length === 0 || only.some((prefix) => name.startsWith(prefix));

/** What tests need that not every machine can have. Where it cannot be had, those tests are left out, except in CI. */
interface Needed {
  readonly name: string;
  readonly find: () => Promise<string>;
  readonly tests: string;
}

const NEEDED: readonly Needed[] = [
  { name: "S3 servers", find: findS3Servers, tests: "**/s3-*.test.ts" },
  { name: "log checkers in Go", find: findCheckers, tests: "**/outside-checkers.test.ts" },
  { name: "clients in Go and Python", find: findClients, tests: "**/clients.test.ts" },
  { name: "a witness in Go", find: findWitness, tests: "**/litewitness*.test.ts" },
  { name: "a browser", find: findBrowser, tests: "**/page.test.ts" },
];

// A first run compiles nats-server, two S3 servers, generators and more, minutes on two cores: meanwhile what needs none.
const generated = wanted(GENERATED_CODE) ? generatedCode() : undefined;
const servers = wanted("integration") ? outsidePrograms() : undefined;
const others = servers === undefined ? [] : NEEDED.map((needed) => ({ ...needed, found: needed.find() }));
for (const found of [generated, servers, ...others.map((other) => other.found)]) {
  found?.catch(() => {}); // Reported in its turn.
}
for (const check of QUICK) if (wanted(check.name)) await report(check);
if (wanted("unit")) await vitest("unit");
if (generated !== undefined) await report({ name: GENERATED_CODE, run: () => generated });
if (servers !== undefined) {
  const ready = await report({ name: "outside programs", run: () => servers }, CI);
  const leftOut: string[] = [];
  for (const { name, found, tests } of others) {
    if (await report({ name, run: () => found }, CI)) continue;
    if (!CI) console.log(`skipped: ${tests}, for it needs them`);
    leftOut.push("--exclude", tests);
  }
  // One more than there are cores: these files wait for servers about as long as they work.
  if (ready) await vitest("integration", [`--maxWorkers=${availableParallelism() + 1}`, ...leftOut]);
  else if (!CI) console.log("skipped: integration, for it needs them");
}
console.log(`${passed} passed, ${failed} failed`);
// A misspelt name checks nothing, which is no success.
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/** Runs a check, prints how it went, and counts it, except a failure that is not `mandatory`. */
async function report({ name, run }: Check, mandatory = true): Promise<boolean> {
  const started = performance.now();
  const took = () => `${((performance.now() - started) / 1000).toFixed(1)} s`;
  try {
    const note = await run();
    console.log(`ok    ${name} (${took()})${note === "" ? "" : `: ${note}`}`);
    passed++;
    return true;
  } catch (error) {
    console.log(
      `${mandatory ? "FAIL" : "none"}  ${name} (${took()})\n${error instanceof Error ? error.message : String(error)}`,
    );
    if (mandatory) failed++;
    return false;
  }
}

/** A check that is a program's exit code. */
function program(name: string, file: string, ...args: string[]): Check {
  return { name, run: () => runProgram(file, args).then(() => "") };
}

async function runProgram(file: string, args: string[]): Promise<string> {
  const child = spawn(file, args, { cwd: ROOT, env: ENV, stdio: ["ignore", "pipe", "pipe"] });
  const [[code], output, errors] = await Promise.all([
    once(child, "exit"),
    text(child.stdout),
    text(child.stderr),
  ]);
  if (code !== 0) throw new Error(`${output}${errors}`.trimEnd());
  return output;
}

/**
 * gen/ and docs/api.md are what `npm run generate` makes of proto/: nothing changed by hand, nothing forgotten, nothing
 * left over. Where there is no Go or Python, what they generate is left out, and it says so.
 */
async function generatedCode(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "psephos-generated-"));
  try {
    let files = 0;
    const different: string[] = [];
    const leftOut: string[] = [];
    for (const { name, path, generate } of GENERATED) {
      try {
        await generate(folder);
      } catch (error) {
        const why = `${path} (${name}): ${error instanceof Error ? error.message : String(error)}`;
        if (CI || path === "gen/ts") throw new Error(why);
        leftOut.push(`\nskipped: ${why}`);
        continue;
      }
      const [fresh, committed] = await Promise.all([readTree(folder, path), readTree(ROOT, path)]);
      const names = [...new Set([...fresh.keys(), ...committed.keys()])].sort();
      different.push(...names.filter((file) => fresh.get(file) !== committed.get(file)));
      files += names.length;
    }
    if (different.length > 0) {
      throw new Error(`\`npm run generate\` changes:\n${different.map((file) => `  ${file}`).join("\n")}`);
    }
    return [`${files} files`, ...leftOut].join("");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The files that `path` is or has below it, by their paths from `root`. */
async function readTree(root: string, path: string): Promise<Map<string, string>> {
  const at = await stat(join(root, path)).catch(() => undefined);
  const below = at?.isDirectory()
    ? await readdir(join(root, path), { recursive: true, withFileTypes: true })
    : [];
  const paths = at?.isFile()
    ? [path]
    : below
        .filter((entry) => entry.isFile())
        .map((entry) => relative(root, join(entry.parentPath, entry.name)));
  const read = async (file: string) => [file, await readFile(join(root, file), "utf8")] as const;
  return new Map(await Promise.all(paths.map(read)));
}

/** Postgres and nats-server: found, or fetched and built. */
async function outsidePrograms(): Promise<string> {
  const [{ postgres }, nats] = await Promise.all([postgresBinaries(), findNatsServer()]);
  const version = await runProgram(postgres, ["--version"]);
  return `${version.trim()}, nats-server ${nats.version}`;
}

async function findBrowser(): Promise<string> {
  return (await findChromium()).version;
}

/** Without them the rest can still be tested: where there is no Go, they cannot be built. */
async function findS3Servers(): Promise<string> {
  const found = await Promise.all(S3_IMPLEMENTATIONS.map((implementation) => findS3Server(implementation)));
  return found.map(({ implementation, version }) => `${implementation} ${version}`).join(", ");
}

/** Other people's programs that check a log. The Go toolchain itself builds those of ours. */
async function findCheckers(): Promise<string> {
  const [go] = await Promise.all([findGo(), findGoProgram("fsck")]);
  return `${describeGoProgram("fsck")}, ${(await runProgram(go, ["version"])).trim()}`;
}

/** What the examples of clients run with, and Go's compiled already. */
async function findClients(): Promise<string> {
  const [go, python] = await Promise.all([findGo(), findPython()]);
  await runProgram(go, ["-C", "docs/clients/go", "test", "-run=^$", "./..."]);
  const versions = await Promise.all([
    runProgram(go, ["version"]),
    runProgram(join(python, "python3"), ["-V"]),
  ]);
  return versions.map((version) => version.trim()).join(", ");
}

/** A witness that is not ours. */
async function findWitness(): Promise<string> {
  await findLitewitness();
  return describeGoProgram("litewitness");
}

/** Runs the projects of vitest.config.ts whose names begin so, and counts each of their tests. */
async function vitest(project: "unit" | "integration", options: readonly string[] = []): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "psephos-vitest-"));
  try {
    const file = join(folder, "report.json");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const args = [
      ...NODE_FLAGS,
      "node_modules/vitest/vitest.mjs",
      "run",
      "--project",
      `${project}*`,
      ...options,
      ...reporters,
    ];
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: ENV,
      stdio: ["ignore", "inherit", "inherit"],
    });
    const [code] = await once(child, "exit");
    const counts = await count(file);
    passed += counts.passed;
    // Errors outside of any test, or no report at all, show in the exit code alone.
    failed += code !== 0 ? Math.max(counts.failed, 1) : counts.failed;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A file that could not be loaded has no tests: it counts as one that failed. */
async function count(file: string): Promise<{ passed: number; failed: number }> {
  try {
    const report = vitestReport.parse(JSON.parse(await readFile(file, "utf8")));
    const unloaded = report.testResults.filter(
      ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
    );
    return { passed: report.numPassedTests, failed: report.numFailedTests + unloaded.length };
  } catch (error) {
    console.log(`vitest left no report: ${error instanceof Error ? error.message : String(error)}`);
    return { passed: 0, failed: 1 };
  }
}

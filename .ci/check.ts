// Everything that must hold before a change is taken: `npm test`, or `npm test -- types unit` for some of it. Prints each
// check as it ends, goes on after a failure, and ends with the line "N passed, N failed".
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { findNatsServer } from "../deploy/local/nats-binary.ts";
import { postgresBinaries } from "../deploy/local/postgres-binaries.ts";
import { findS3Server, S3_IMPLEMENTATIONS } from "../deploy/local/s3-binaries.ts";
import { NODE_FLAGS } from "../deploy/local/service-process.ts";

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
  program("contracts lint", "buf", "lint"),
  program("contracts format", "buf", "format", "proto", "--diff", "--exit-code"),
  // Against the image of the contracts that was last accepted (`npm run accept-contracts`) and is committed beside this
  // file, not against a branch, of which a clone may have none: what changes callers changes that file, in plain sight.
  program("contracts compatible", "buf", "breaking", "proto", "--against", ".ci/contracts.binpb"),
  { name: "generated code", run: generatedCode },
];

/** What vitest's JSON reporter writes, as far as it is read here. */
const vitestReport = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  testResults: z.array(
    z.object({ name: z.string(), status: z.string(), assertionResults: z.array(z.unknown()) }),
  ),
});

let passed = 0;
let failed = 0;

const only = process.argv.slice(2);
const wanted = (name: string) => only.length === 0 || only.some((prefix) => name.startsWith(prefix));

// A first run compiles nats-server and two S3 servers, five minutes on two cores: meanwhile what needs no server.
const servers = wanted("integration") ? outsidePrograms() : undefined;
const s3Servers = wanted("integration") ? findS3Servers() : undefined;
for (const found of [servers, s3Servers]) found?.catch(() => {}); // A failure is reported when its turn comes.
for (const check of QUICK) if (wanted(check.name)) await report(check);
if (wanted("unit")) await vitest("unit");
if (servers !== undefined && s3Servers !== undefined) {
  const ready = await report({ name: "outside programs", run: () => servers }, CI);
  const s3Ready = await report({ name: "S3 servers", run: () => s3Servers }, CI);
  if (!s3Ready && !CI) console.log("skipped: the tests over S3 (s3-*.test.ts), for they need them");
  if (ready) await vitest("integration", s3Ready ? [] : ["--exclude", "**/s3-*.test.ts"]);
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

/** gen/ is what `npm run generate` makes of proto/: nothing changed by hand, nothing forgotten, nothing left over. */
async function generatedCode(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "psephos-generated-"));
  try {
    await runProgram("buf", ["generate", "-o", folder]);
    const [fresh, committed] = await Promise.all([
      readTree(join(folder, "gen")),
      readTree(join(ROOT, "gen")),
    ]);
    const names = [...new Set([...fresh.keys(), ...committed.keys()])].sort();
    const different = names.filter((name) => fresh.get(name) !== committed.get(name));
    if (different.length > 0) {
      throw new Error(
        `\`npm run generate\` changes:\n${different.map((name) => `  gen/${name}`).join("\n")}`,
      );
    }
    return `${names.length} files`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readTree(folder: string): Promise<Map<string, string>> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  const read = async (path: string) => [path.slice(folder.length + 1), await readFile(path, "utf8")] as const;
  return new Map(await Promise.all(paths.map(read)));
}

/** Postgres and nats-server: found, or fetched and built. */
async function outsidePrograms(): Promise<string> {
  const [{ postgres }, nats] = await Promise.all([postgresBinaries(), findNatsServer()]);
  const version = await runProgram(postgres, ["--version"]);
  return `${version.trim()}, nats-server ${nats.version}`;
}

/** Without them the rest can still be tested: where there is no Go, they cannot be built. */
async function findS3Servers(): Promise<string> {
  const found = await Promise.all(S3_IMPLEMENTATIONS.map((implementation) => findS3Server(implementation)));
  return found.map(({ implementation, version }) => `${implementation} ${version}`).join(", ");
}

/** Runs a project of vitest.config.ts and counts each of its tests. */
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
      project,
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

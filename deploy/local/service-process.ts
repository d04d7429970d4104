import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, ServerProcess } from "./process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** How Node runs everything of this project. That TLS is 1.3 and nothing else can be said to gRPC only in this way. */
export const NODE_FLAGS = ["--tls-min-v1.3", "--disable-warning=ExperimentalWarning"];

/**
 * Where Node keeps what it compiled. It takes a third off the time a service needs to start. `npm ci` empties it, and where
 * it cannot be written nothing is lost.
 */
export const COMPILE_CACHE = join(ROOT, "node_modules", ".cache", "node");

export interface ServiceProcessOptions {
  /** The service, and the folder of its main below cmd/. */
  readonly name: string;
  /** The whole configuration: it becomes a JSON file. */
  readonly config: object;
  /** The state folder: the file goes to config/, the output to logs/. */
  readonly folder: string;
  /** Resolves when the service is healthy; it is given up after a moment and tried again. */
  readonly probe: (signal: AbortSignal) => Promise<boolean>;
  readonly onUnexpectedExit?: ((error: Error) => void) | undefined;
}

/** One of the project's services, as a process of its own. */
export class ServiceProcess extends ServerProcess {
  readonly configFile: string;
  /** What the next start writes to the configuration file. */
  config: object;
  readonly #probe: (signal: AbortSignal) => Promise<boolean>;

  constructor(options: ServiceProcessOptions) {
    super({
      name: options.name,
      logFile: join(options.folder, "logs", `${options.name}.log`),
      stopSignal: "SIGTERM",
      stopTimeoutMs: 12_000, // By itself it gives up after ten seconds, and says so in its log.
      orphanSignal: "TERM",
      onUnexpectedExit: options.onUnexpectedExit,
    });
    this.config = options.config;
    this.configFile = join(options.folder, "config", `${options.name}.json`);
    this.#probe = options.probe;
  }

  protected override async prepare(): Promise<Command> {
    await mkdir(join(this.configFile, ".."), { recursive: true });
    await writeFile(this.configFile, `${JSON.stringify(this.config, null, 2)}\n`);
    const main = join(ROOT, "cmd", this.name, "main.ts");
    return {
      file: process.execPath,
      args: [...NODE_FLAGS, main, "--config", this.configFile],
      env: { NODE_COMPILE_CACHE: COMPILE_CACHE },
      cwd: ROOT,
    };
  }

  protected override isReady(): Promise<boolean> {
    return this.#probe(AbortSignal.timeout(2_000));
  }
}

// For tests: torchwood's litewitness, with an agent that holds its key.
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { findGoProgram } from "./go-programs.ts";
import { onPath } from "./outside-program.ts";
import { PortBook } from "./ports.ts";
import { type Command, ServerProcess } from "./process.ts";
import { runProgram } from "./run-program.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

const STOP = { stopSignal: "SIGINT", stopTimeoutMs: 5_000, orphanSignal: "TERM" } as const;

/** The server's program, and the one that tells it its logs. */
export interface Litewitness {
  readonly litewitness: string;
  readonly witnessctl: string;
}

export async function findLitewitness(): Promise<Litewitness> {
  // The private keys that it signs with are an agent's.
  for (const program of ["ssh-agent", "ssh-add", "ssh-keygen"]) {
    if ((await onPath(program)) === undefined)
      throw new Error(
        `litewitness needs ${program}, of OpenSSH (Debian: apt-get install openssh-client), on PATH`,
      );
  }
  // One after the other: they share most of what is compiled.
  return {
    litewitness: await findGoProgram("litewitness"),
    witnessctl: await findGoProgram("witnessctl"),
  };
}

class SshAgent extends ServerProcess {
  readonly socket: string;

  constructor(folder: string) {
    super({ name: "ssh-agent", logFile: join(folder, "ssh-agent.log"), ...STOP, stopSignal: "SIGTERM" });
    this.socket = join(folder, "agent.sock");
  }

  protected override prepare(): Promise<Command> {
    return Promise.resolve({ file: "ssh-agent", args: ["-D", "-a", this.socket] });
  }

  protected override async isReady(): Promise<boolean> {
    const socket = connect(this.socket);
    await once(socket, "connect");
    socket.destroy();
    return true;
  }
}

class LitewitnessServer extends ServerProcess {
  readonly #args: readonly string[];
  readonly #program: string;
  readonly #url: string;
  verifierKey = "";

  constructor(options: { folder: string; program: string; args: readonly string[]; url: string }) {
    super({ name: "litewitness", logFile: join(options.folder, "litewitness.log"), ...STOP });
    this.#program = options.program;
    this.#args = options.args;
    this.#url = options.url;
  }

  protected override prepare(): Promise<Command> {
    return Promise.resolve({ file: this.#program, args: this.#args });
  }

  protected override async isReady(): Promise<boolean> {
    const page = await (await fetch(this.#url)).text();
    // Its page shows the key, escaped for HTML.
    this.verifierKey = /^\S+\+[0-9a-f]{8}\+\S+$/m.exec(page.replaceAll("&#43;", "+"))?.[0] ?? "";
    return this.verifierKey !== "";
  }
}

export class LitewitnessUnderTest implements AsyncDisposable {
  readonly url: string;
  readonly #server: LitewitnessServer;
  readonly #resources: AsyncDisposableStack;

  private constructor(url: string, server: LitewitnessServer, resources: AsyncDisposableStack) {
    this.url = url;
    this.#server = server;
    this.#resources = resources;
  }

  /** With a new key, a new database, and these logs' keys. */
  static async start(logKeys: readonly string[], name = "litewitness.test"): Promise<LitewitnessUnderTest> {
    const programs = await findLitewitness();
    await using starting = new AsyncDisposableStack();
    const { path: folder } = starting.use(await TemporaryFolder.create());
    const ports = starting.use(await PortBook.open(join(folder, "ports.json")));
    const address = `127.0.0.1:${await ports.port("litewitness")}`;

    const keyFile = join(folder, "key");
    await runProgram({ file: "ssh-keygen", args: ["-q", "-t", "ed25519", "-N", "", "-f", keyFile] });
    const [, fingerprint = ""] = (
      await runProgram({ file: "ssh-keygen", args: ["-l", "-f", keyFile] })
    ).split(" ");
    await mkdir(join(folder, "agent"), { mode: 0o700 });
    const agent = starting.use(new SshAgent(join(folder, "agent")));
    await agent.start();
    await runProgram({ file: "ssh-add", args: ["-q", keyFile], env: { SSH_AUTH_SOCK: agent.socket } });

    const database = join(folder, "litewitness.db");
    for (const key of logKeys) {
      const log = ["-db", database, "-origin", key.split("+", 1)[0] ?? ""];
      await runProgram({ file: programs.witnessctl, args: ["add-log", ...log] });
      await runProgram({ file: programs.witnessctl, args: ["add-key", ...log, "-key", key] });
    }
    const args = [
      "-name",
      name,
      "-db",
      database,
      "-ssh-agent",
      agent.socket,
      "-listen",
      address,
      "-key",
      fingerprint,
    ];
    const url = `http://${address}`;
    const server = starting.use(new LitewitnessServer({ folder, program: programs.litewitness, args, url }));
    await server.start();
    return new LitewitnessUnderTest(url, server, starting.move());
  }

  get verifierKey(): string {
    return this.#server.verifierKey;
  }

  async restart(): Promise<void> {
    await this.#server.kill();
    await this.#server.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

import { join, resolve } from "node:path";
import { DevelopmentCa } from "./dev-ca.ts";
import { LocalNats } from "./nats.ts";
import { findNatsServer } from "./nats-binary.ts";
import { PortBook } from "./ports.ts";
import { LocalPostgres } from "./postgres.ts";
import { startTogether, stopTogether } from "./process.ts";
import { StateFolder } from "./state-folder.ts";

export interface LocalServersOptions {
  /** The state folder: everything that lasts is below it. */
  readonly folder: string;
  /** How many Postgres instances; default 1. */
  readonly postgresInstances?: number;
  /** Settings of every Postgres instance, over the ones in postgres.ts. */
  readonly postgresSettings?: Readonly<Record<string, string>>;
  /** For tests: new Postgres instances are copies of one that was made before. */
  readonly postgresCopied?: boolean;
  /** Hears of what takes long. */
  readonly progress?: (message: string) => void;
  readonly onUnexpectedExit?: (error: Error) => void;
  /** Gives up starting. What runs by then is stopped. */
  readonly signal?: AbortSignal;
}

/** What the services stand on: a certificate authority, Postgres and NATS. */
export class LocalServers implements AsyncDisposable {
  readonly ca: DevelopmentCa;
  readonly ports: PortBook;
  readonly postgres: readonly LocalPostgres[];
  readonly nats: LocalNats;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    servers: { ca: DevelopmentCa; ports: PortBook; postgres: readonly LocalPostgres[]; nats: LocalNats },
    resources: AsyncDisposableStack,
  ) {
    this.ca = servers.ca;
    this.ports = servers.ports;
    this.postgres = servers.postgres;
    this.nats = servers.nats;
    this.#resources = resources;
  }

  /** Starts everything on what the state folder holds. */
  static async start(options: LocalServersOptions): Promise<LocalServers> {
    await using resources = new AsyncDisposableStack();
    const { path } = resources.use(await StateFolder.open(resolve(options.folder)));
    const ports = resources.use(await PortBook.open(join(path, "ports.json")));
    const ca = await DevelopmentCa.open(join(path, "tls"));
    const { program } = await findNatsServer(options);

    const { postgresInstances = 1, postgresSettings = {}, onUnexpectedExit, signal } = options;
    const common = { ca, settings: postgresSettings, copied: options.postgresCopied, onUnexpectedExit };
    const postgres: LocalPostgres[] = [];
    for (let i = 0; i < postgresInstances; i++) {
      const name = `postgres-${i}`;
      const place = { name, folder: join(path, name), port: await ports.port(name) };
      postgres.push(new LocalPostgres({ ...place, ...common }));
    }
    const port = await ports.port("nats");
    const nats = new LocalNats({ program, folder: join(path, "nats"), port, ca, onUnexpectedExit });

    resources.defer(() => stopTogether([...postgres, nats]));
    await startTogether([...postgres, nats]);
    signal?.throwIfAborted();
    return new LocalServers({ ca, ports, postgres, nats }, resources.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

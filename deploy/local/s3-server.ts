import { copyFile, mkdir, readFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import type { DevelopmentCa, TlsFiles } from "./dev-ca.ts";
import { LISTEN_ADDRESS } from "./ports.ts";
import { type Command, ServerProcess } from "./process.ts";
import type { S3Implementation, S3Program } from "./s3-binaries.ts";
import { ensureSecret } from "./secret-file.ts";

export interface LocalS3Options {
  readonly server: S3Program;
  /** Holds everything of this server; it is created when it is not there. */
  readonly folder: string;
  readonly port: number;
  readonly ca: DevelopmentCa;
  readonly onUnexpectedExit?: ((error: Error) => void) | undefined;
}

/** How one implementation is started. */
interface Recipe {
  /** A request without credentials, and how it is answered by a server that is ready. */
  readonly ready: { readonly path: string; readonly status: number };
  readonly command: (place: Place) => Promise<Omit<Command, "file">>;
}

interface Place {
  readonly folder: string;
  readonly address: string;
  readonly tls: TlsFiles;
  readonly secret: string;
}

/** The name of the root credentials. It is no secret. */
const ACCESS_KEY_ID = "psephos-local";

/** What servers that have no regions call theirs. */
const REGION = "us-east-1";

/** An S3 server on this machine, whose buckets can have Object Lock. Https, with a certificate of the development CA. */
export class LocalS3 extends ServerProcess {
  readonly implementation: S3Implementation;
  readonly port: number;
  readonly region = REGION;
  readonly #options: LocalS3Options;

  constructor(options: LocalS3Options) {
    super({
      name: options.server.implementation,
      logFile: join(options.folder, `${options.server.implementation}.log`),
      stopSignal: "SIGTERM",
      stopTimeoutMs: 10_000,
      orphanSignal: "TERM",
      onUnexpectedExit: options.onUnexpectedExit,
    });
    this.implementation = options.server.implementation;
    this.port = options.port;
    this.#options = options;
  }

  /** What clients connect to, with buckets as the first part of the path. */
  get endpoint(): string {
    return `https://localhost:${this.port}`;
  }

  get caFile(): string {
    return this.#options.ca.caFile;
  }

  /** The root's secret, in a file that its owner alone can read. It is there once the server has been started. */
  get secretAccessKeyFile(): string {
    return join(this.#options.folder, "secret-access-key");
  }

  get accessKeyId(): string {
    return ACCESS_KEY_ID;
  }

  /** What a client needs of this server. */
  async connection(): Promise<S3Connection> {
    const [ca, secret] = await Promise.all([
      readFile(this.caFile, "utf8"),
      readFile(this.secretAccessKeyFile, "utf8"),
    ]);
    return {
      endpoint: this.endpoint,
      region: this.region,
      ca,
      credentials: { accessKeyId: this.accessKeyId, secretAccessKey: secret.trim() },
    };
  }

  protected override async prepare(): Promise<Command> {
    const { folder, server, ca, port } = this.#options;
    await mkdir(folder, { recursive: true });
    const secret = (await readFile(await ensureSecret(this.secretAccessKeyFile), "utf8")).trim();
    const tls = await ca.identity("service/s3");
    const address = `${LISTEN_ADDRESS}:${port}`;
    const command = await RECIPES[server.implementation].command({ folder, address, tls, secret });
    return { file: server.program, ...command };
  }

  protected override async isReady(): Promise<boolean> {
    const ca = await readFile(this.caFile, "utf8");
    const { path, status } = RECIPES[this.implementation].ready;
    return (await statusOf(`${this.endpoint}${path}`, ca)) === status;
  }
}

export interface S3Connection {
  readonly endpoint: string;
  readonly region: string;
  /** PEM. */
  readonly ca: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

const RECIPES: Readonly<Record<S3Implementation, Recipe>> = {
  versitygw: {
    ready: { path: "/healthz", status: 200 },
    command: async ({ folder, address, tls, secret }) => {
      // Buckets are folders below `data`, so what is not a bucket must be elsewhere.
      const [data, versions, iam] = await folders(folder, "data", "versions", "iam");
      const server = [
        "--port",
        address,
        "--region",
        REGION,
        "--quiet",
        "--keep-alive",
        "--health",
        "/healthz",
      ];
      const files = ["--cert", tls.cert, "--key", tls.key, "--iam-dir", iam];
      return {
        args: [...server, ...files, "posix", "--versioning-dir", versions, data],
        env: { ROOT_ACCESS_KEY: ACCESS_KEY_ID, ROOT_SECRET_KEY: secret },
      };
    },
  },
  minio: {
    // Its own health check calls it ready while it still answers "not initialized" to everything.
    ready: { path: "/", status: 403 },
    command: async ({ folder, address, tls, secret }) => {
      const [data, certificates] = await folders(folder, "data", "certificates");
      // It looks for its certificate under these names.
      await copyFile(tls.cert, join(certificates, "public.crt"));
      await copyFile(tls.key, join(certificates, "private.key"));
      return {
        args: ["server", "--quiet", "--certs-dir", certificates, "--address", address, data],
        env: {
          MINIO_ROOT_USER: ACCESS_KEY_ID,
          MINIO_ROOT_PASSWORD: secret,
          MINIO_REGION: REGION,
          MINIO_BROWSER: "off",
          MINIO_UPDATE: "off", // It would ask its maker for news.
        },
      };
    },
  },
};

async function folders<const T extends readonly string[]>(
  parent: string,
  ...names: T
): Promise<{ readonly [I in keyof T]: string }> {
  const paths = names.map((name) => join(parent, name));
  for (const path of paths) await mkdir(path, { recursive: true, mode: 0o700 });
  // One path a name, in the same order, which map() does not tell.
  return paths as { [I in keyof T]: string };
}

function statusOf(url: string, ca: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(url, { ca, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    call.on("timeout", () => call.destroy(new Error("the S3 server does not answer")));
    call.on("error", reject);
    call.end();
  });
}

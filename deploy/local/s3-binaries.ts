import { buildOnce, type GetOptions, onPath, summary } from "./outside-program.ts";
import { runProgram } from "./run-program.ts";

/** S3 servers that this project is run against. No two of them keep Object Lock's rules alike. */
export type S3Implementation = "versitygw" | "minio";

export const S3_IMPLEMENTATIONS: readonly S3Implementation[] = ["versitygw", "minio"];

export interface S3Program {
  readonly implementation: S3Implementation;
  readonly program: string;
  readonly version: string;
}

interface Source {
  /** Names a program to use, before anything else. */
  readonly variable: string;
  readonly module: string;
  readonly version: string;
  /** In the output of `--version`: that it is this program, and its version. */
  readonly sign: RegExp;
  /** How long it takes to build on two cores. */
  readonly minutes: string;
}

const SOURCES: Readonly<Record<S3Implementation, Source>> = {
  versitygw: {
    variable: "PSEPHOS_VERSITYGW",
    module: "github.com/versity/versitygw/cmd/versitygw",
    version: "v1.8.0",
    sign: /^Version\s*:\s*(\S+)/m, // "Version  : git"
    minutes: "a minute",
  },
  minio: {
    variable: "PSEPHOS_MINIO",
    module: "github.com/minio/minio",
    // The module has no tags that Go takes for versions: this is a commit of its main branch.
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
    sign: /^minio\S* version (\S+)/m, // Its name is that of its file.
    minutes: "four minutes",
  },
};

/** Finds an S3 server, or builds one: its environment variable, PATH, what an earlier run built, Go. */
export async function findS3Server(
  implementation: S3Implementation,
  options: GetOptions = {},
): Promise<S3Program> {
  const { variable, module, version, minutes } = SOURCES[implementation];
  const chosen = process.env[variable];
  if (chosen) {
    const server = await usable(implementation, chosen);
    if (server === undefined)
      throw new Error(`${variable}: ${chosen} is no ${implementation} that runs here`);
    return server;
  }
  const installed = await usable(implementation, await onPath(implementation));
  if (installed !== undefined) return installed;
  let reason = "what was built does not run here";
  try {
    const program = await buildOnce({ name: implementation, module, version, minutes }, options);
    const server = await usable(implementation, program, version);
    if (server !== undefined) return server;
  } catch (error) {
    options.signal?.throwIfAborted();
    reason = summary(error);
  }
  throw new Error(
    [
      `no ${implementation}, and none could be built: ${reason}`,
      `Install Go ≥ 1.25 (https://go.dev/dl/) so that it is on PATH, and ${implementation} is built once for this`,
      `machine; or put ${implementation} on PATH, or name it in ${variable}.`,
    ].join("\n"),
  );
}

/** What we have built ourselves we know the version of; otherwise the program is asked. */
async function usable(
  implementation: S3Implementation,
  program: string | undefined,
  known?: string,
): Promise<S3Program | undefined> {
  if (program === undefined) return undefined;
  try {
    const output = await runProgram({ file: program, args: ["--version"], timeoutMs: 10_000 });
    const said = SOURCES[implementation].sign.exec(output)?.[1];
    return said === undefined ? undefined : { implementation, program, version: known ?? said };
  } catch {
    return undefined;
  }
}

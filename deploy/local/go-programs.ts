import { buildOnce, type GetOptions, onPath, summary } from "./outside-program.ts";

/**
 * Programs in Go that the checks need and that no package manager has in the version we mean. Each is built once for the
 * machine, at exactly this version. None is looked for on PATH: another version would generate other code, and `fsck` is
 * something else there.
 */
const PROGRAMS = {
  /** Checks a whole tlog-tiles log: every entry bundle, every tile, the checkpoint. */
  fsck: { module: "github.com/transparency-dev/tessera/cmd/fsck", version: "v1.0.4", minutes: "a minute" },
  // torchwood's witness: the server, and what tells it its logs. The newest version that Go 1.26 compiles.
  litewitness: { module: "filippo.io/torchwood/cmd/litewitness", version: "v0.9.0", minutes: "a minute" },
  witnessctl: { module: "filippo.io/torchwood/cmd/witnessctl", version: "v0.9.0", minutes: "a minute" },
  // Plugins of buf: gen/go and docs/api.md.
  "protoc-gen-go": {
    module: "google.golang.org/protobuf/cmd/protoc-gen-go",
    version: "v1.36.12",
    minutes: "half a minute",
  },
  "protoc-gen-go-grpc": {
    module: "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
    version: "v1.6.2",
    minutes: "half a minute",
  },
  "protoc-gen-doc": {
    module: "github.com/pseudomuto/protoc-gen-doc/cmd/protoc-gen-doc",
    version: "v1.5.1",
    minutes: "half a minute",
  },
} as const;

const INSTALL = "Install Go ≥ 1.26 (https://go.dev/dl/) so that it is on PATH";

export type GoProgram = keyof typeof PROGRAMS;

/** The file of a program that an earlier run built, or that is built now. */
export async function findGoProgram(name: GoProgram, options: GetOptions = {}): Promise<string> {
  try {
    return await buildOnce({ name, ...PROGRAMS[name] }, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new Error(
      [
        `no ${describeGoProgram(name)}, and none could be built: ${summary(error)}`,
        `${INSTALL}, and it is built once for this machine.`,
      ].join("\n"),
    );
  }
}

/** Go itself, for programs of our own. */
export async function findGo(): Promise<string> {
  const go = await onPath("go");
  if (go === undefined) throw new Error(`go is not on PATH. ${INSTALL}.`);
  return go;
}

/** "fsck v1.0.4" */
export function describeGoProgram(name: GoProgram): string {
  return `${name} ${PROGRAMS[name].version}`;
}

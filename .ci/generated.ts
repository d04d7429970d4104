// What is generated of proto/ and committed: code for TypeScript, Go and Python, and docs/api.md.
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findGoProgram, type GoProgram } from "../deploy/local/go-programs.ts";
import type { GetOptions } from "../deploy/local/outside-program.ts";
import { findPython } from "../deploy/local/python.ts";
import { runProgram } from "../deploy/local/run-program.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const PROTO = join(ROOT, "proto");
/** Google's own protos, for google.rpc.Status. */
const GOOGLE_PROTO = join(ROOT, "node_modules", "google-proto-files");

export interface Generated {
  readonly name: string;
  /** The folder or file that is generated as a whole, from the root. */
  readonly path: string;
  /** Generates it below `root`. Rejects where a generator can be neither found nor got. */
  generate(root: string, options?: GetOptions): Promise<void>;
}

export const GENERATED: readonly Generated[] = [
  { name: "TypeScript", path: "gen/ts", generate: withBuf("buf.gen.yaml", []) },
  {
    name: "Go",
    path: "gen/go/psephos",
    generate: withBuf("buf.gen.go.yaml", ["protoc-gen-go", "protoc-gen-go-grpc"]),
  },
  { name: "Python", path: "gen/python/src", generate: generatePython },
  { name: "the API's page", path: "docs/api.md", generate: withBuf("buf.gen.docs.yaml", ["protoc-gen-doc"]) },
];

function withBuf(template: string, plugins: readonly GoProgram[]): Generated["generate"] {
  return async (root, options) => {
    const folder = await mkdtemp(join(tmpdir(), "psephos-plugins-"));
    try {
      // buf looks for a plugin by its name on PATH. In the cache its name ends in its version.
      for (const plugin of plugins) await symlink(await findGoProgram(plugin, options), join(folder, plugin));
      const own = join(ROOT, "node_modules", ".bin");
      const env = { PATH: [folder, own, process.env.PATH].join(delimiter) };
      await runProgram({
        file: join(own, "buf"),
        args: ["generate", "--template", template, "-o", root],
        cwd: ROOT,
        env,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/** Without buf, which cannot run the generator of services that is built into Python's protoc. */
async function generatePython(root: string, options?: GetOptions): Promise<void> {
  const programs = await findPython(options);
  const out = join(root, "gen", "python", "src");
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const protos = (await readdir(PROTO, { recursive: true })).filter((file) => file.endsWith(".proto")).sort();
  const includes = [PROTO, GOOGLE_PROTO].map((folder) => `--proto_path=${folder}`);
  // Messages with their types; services; and the types of services (mypy-protobuf), which protoc leaves out.
  const outputs = ["python", "pyi", "grpc_python", "mypy_grpc"].map((output) => `--${output}_out=${out}`);
  await runProgram({
    file: join(programs, "python3"),
    args: ["-m", "grpc_tools.protoc", ...includes, ...outputs, ...protos],
    env: { PATH: [programs, process.env.PATH].join(delimiter) },
  });
  // "This package has types" (PEP 561).
  await writeFile(join(out, "psephos", "py.typed"), "");
}

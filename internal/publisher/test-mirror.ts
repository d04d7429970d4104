// For tests: the public directory as a mirror has it, copied file by file and served by a program that knows nothing of
// logs but a content type a suffix.
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, normalize, relative } from "node:path";

export interface MirroredFile {
  /** As in a URL, without the slash before it. */
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

/** docs/public-log.md, "Mirrors". */
export function mirroredType(path: string): string {
  if (path.endsWith(".json")) return "application/json";
  if (path.endsWith(".html")) return "text/html; charset=utf-8";
  if (path.endsWith(".css")) return "text/css; charset=utf-8";
  if (path.endsWith(".js")) return "text/javascript; charset=utf-8";
  return path.includes("/tile/") ? "application/octet-stream" : "text/plain; charset=utf-8";
}

/** All that a mirror copies: every file but those whose name begins with a dot. */
export async function mirroredFiles(directory: string): Promise<MirroredFile[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !relative(directory, file).startsWith("."));
  return Promise.all(
    files.map(async (file) => {
      const path = relative(directory, file);
      return { path, bytes: await readFile(file), contentType: mirroredType(path) };
    }),
  );
}

/** A plain static file server over a directory, at `url`. */
export async function serveDirectory(directory: string): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname));
    const file = join(directory, path.endsWith("/") ? `${path}index.html` : path);
    const isFile = await stat(file).then(
      (found) => found.isFile(),
      () => false,
    );
    if (!isFile) return void response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": mirroredType(file) });
    createReadStream(file).pipe(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // not a pipe
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

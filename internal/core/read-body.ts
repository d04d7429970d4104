import { concat } from "./bytes.ts";

/**
 * The bytes of a body, or undefined when there are more than `limit`: then the rest is not read. A stranger's answer is
 * never larger in memory than what we asked for.
 */
export async function readAtMost(
  body: ReadableStream<Uint8Array> | null,
  limit: number,
): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop early cancels the stream, and with it the connection.
  for await (const part of body ?? []) {
    length += part.length;
    if (length > limit) return undefined;
    parts.push(part);
  }
  return concat(...parts);
}

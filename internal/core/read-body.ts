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
  // Not `for await`: of the browsers that a page of ours runs in, not all have it for streams.
  const reader = body?.getReader();
  for (let next = await reader?.read(); next?.value; next = await reader?.read()) {
    length += next.value.length;
    if (length > limit) {
      // And with the stream the connection.
      await reader?.cancel();
      return undefined;
    }
    parts.push(next.value);
  }
  return concat(...parts);
}

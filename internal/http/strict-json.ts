import { decodeUtf8 } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";

/**
 * The value of a JSON text (RFC 8259) in UTF-8. Unlike JSON.parse it refuses ill-formed UTF-8 and an object that names
 * a key twice: of two values, a proxy in front may have checked the one that is not used here. Errors do not repeat
 * the text, as JSON.parse's do.
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = decodeUtf8(bytes);
    value = JSON.parse(text);
  } catch {
    throw new ServiceError("invalid-argument", "the body is not JSON in UTF-8", { reason: "INVALID_JSON" });
  }
  // Outside of strings, each member of an object has one colon, and nothing else has.
  const colons = text.replace(/"(?:[^"\\]|\\.)*"/g, "").split(":").length - 1;
  if (colons !== members(value)) {
    throw new ServiceError("invalid-argument", "the body names a key twice", { reason: "INVALID_JSON" });
  }
  return value;
}

/** How many members the objects within a value have together. A list of what is left instead of recursion: depth is the sender's choice. */
function members(value: unknown): number {
  let count = 0;
  const left = [value];
  for (let part = left.pop(); part !== undefined; part = left.pop()) {
    if (typeof part !== "object" || part === null) continue;
    const inner = Object.values(part);
    if (!Array.isArray(part)) count += inner.length;
    left.push(...inner);
  }
  return count;
}

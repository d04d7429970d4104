// For tests only.
import fc from "fast-check";
import { TlogError } from "./errors.ts";

/**
 * Any UTF-16, halves of surrogate pairs too, with what means something to a parser among it. (fast-check's own unit
 * "binary" takes most of a second to make.)
 */
export function anyText(): fc.Arbitrary<string> {
  const unit = fc.oneof(
    fc.constantFrom(..."\n\n\r\t -—+=/.019AZaz\u0000\u0085\u00a0\ufeff"),
    fc.nat({ max: 0x10ffff }),
  );
  return fc
    .array(unit)
    .map((units) =>
      units.map((unit) => (typeof unit === "number" ? String.fromCodePoint(unit) : unit)).join(""),
    );
}

/** Text that can stand on a line of a note. */
export function anyLine(): fc.Arbitrary<string> {
  return anyText().map((text) => text.toWellFormed().replace(/\p{Cc}/gu, ""));
}

/** The result, or undefined for a TlogError. Anything else thrown is a crash, and passes through. */
export function attempt<Result>(run: () => Result): Result | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof TlogError) return undefined;
    throw error;
  }
}

/** The bytes with one changed: by a bit, to another case, to a line's end or to what is no UTF-8, each in its turn. */
export function changeByte(bytes: Uint8Array, at: number): Uint8Array {
  const byte = bytes[at] ?? 0;
  const others = [byte ^ 0x01, byte ^ 0x20, 0x0a, byte ^ 0x80].filter((other) => other !== byte);
  return bytes.with(at, others[at % others.length] ?? 0);
}

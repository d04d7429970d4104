/**
 * Bytes that do not follow docs/spec.md. The message says what is wrong with them; whoever read them adds where they
 * came from. It names no voter and no choice.
 */
export class FormatError extends Error {
  override readonly name = "FormatError";
}

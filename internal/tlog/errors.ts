/**
 * What a refusal means to whoever must act on it.
 * - `malformed`: the bytes are not what the format asks for, so nothing was checked.
 * - `unverified`: well-formed, but a hash or a signature does not fit. Somebody changed something, or forked the log.
 * - `missing`: an object that the tree's size says exists was not there. It may come: a retry is worth trying.
 * - `out-of-range`: the caller asked for something the tree does not have.
 */
export type TlogErrorKind = "malformed" | "unverified" | "missing" | "out-of-range";

/** A note, checkpoint, tile, bundle or proof that was refused. The message says which, where and why. */
export class TlogError extends Error {
  override readonly name = "TlogError";
  readonly kind: TlogErrorKind;
  /** The tile or bundle that was refused, where it is a single one. */
  readonly path: string | undefined;

  constructor(kind: TlogErrorKind, message: string, options: ErrorOptions & { readonly path?: string } = {}) {
    super(message, options);
    this.kind = kind;
    this.path = options.path;
  }
}

export function malformed(message: string, cause?: unknown): TlogError {
  return new TlogError("malformed", message, cause === undefined ? undefined : { cause });
}

export function unverified(message: string): TlogError {
  return new TlogError("unverified", message);
}

/** A tile or bundle that is not what it should be. `message` goes on from its path. */
export function badTile(kind: TlogErrorKind, path: string, message: string, cause?: unknown): TlogError {
  return new TlogError(kind, `${path}${message}`, { path, ...(cause === undefined ? {} : { cause }) });
}

import { toHex } from "../core/bytes.ts";
import { sha256 } from "../core/sha256.ts";
import { ObjectCorruptError, type ObjectStore } from "../worm/object-store.ts";
import type { VerificationReport } from "./report.ts";

/** An object as another one names it: a segment in a vote checkpoint, a vote in a segment. */
export interface NamedObject {
  readonly key: string;
  readonly versionId: string;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Its size, where it is named. */
  readonly bytes?: number;
}

export interface ReadNamedOptions {
  readonly store: Pick<ObjectStore, "get">;
  readonly report: VerificationReport;
  /** The object that names it. */
  readonly by: string;
  readonly named: NamedObject;
}

/**
 * The bytes that an object names, or else those that are there now: they show what was changed. Whichever of the two is
 * at fault is reported. Undefined when there is nothing.
 */
export async function readNamed({
  store,
  report,
  by,
  named,
}: ReadNamedOptions): Promise<Uint8Array | undefined> {
  const { key, versionId } = named;
  let body: Uint8Array | undefined;
  try {
    body = await store.get(key, versionId);
  } catch (error) {
    if (!(error instanceof ObjectCorruptError)) throw error;
  }
  const versioned = body !== undefined;
  body ??= await store.get(key);
  if (!body) return undefined;
  report.checked.bytes += body.length;
  const asNamed =
    toHex(sha256(body)) === named.sha256 && (named.bytes === undefined || body.length === named.bytes);
  if (versioned && !asNamed) {
    report.problem(
      { object: by },
      `names another hash or length of ${key} than the version that it names has`,
    );
  } else if (!versioned && asNamed) {
    report.problem({ object: by }, `names a version of ${key} that the store does not have`);
  } else if (!versioned) {
    report.problem({ object: key }, `has other bytes than ${by} names`);
  }
  return body;
}

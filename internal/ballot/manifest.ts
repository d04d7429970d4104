// An election's definition: entry 0 of its log, and what every other byte of it is tied to. docs/spec.md, "Manifest".
import serialize from "canonicalize";
import { decodeUtf8, equalBytes, fromBase64, toBase64, utf8 } from "../core/bytes.ts";
import { type ElectionId, electionId } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import {
  checkManifestJson,
  MANIFEST_FORMAT,
  type ManifestJson,
  manifestProblem,
  manifestRefusal,
  nameOfKey,
} from "./manifest-json.ts";

/** Something a voter can choose. */
export interface Choice {
  /** What clients send: 1 to 256 bytes of UTF-8 without control characters. */
  readonly id: string;
  /** What people read: likewise. */
  readonly name: string;
}

/** An election's definition, as operators write it and everyone can read it. It never changes. */
export interface Manifest {
  readonly electionId: ElectionId;
  /** 1 to 256 bytes of UTF-8 without control characters. */
  readonly title: string;
  /** 1 to 65,535. A choice's place here is what a sealed choice holds. */
  readonly choices: readonly Choice[];
  /** How many logical shards the votes are spread over, 1 to 256. */
  readonly shards: number;
  /** Whether a second vote of a voter is refused, or replaces the first in the count. */
  readonly revoting: "forbidden" | "last-counts";
  /** Microseconds since 1970. */
  readonly opensAt: number;
  /** Microseconds since 1970; null stays open until an operator closes it. */
  readonly closesAt: number | null;
  /** The X25519 public key choices are sealed to: 32 bytes. */
  readonly tallyKey: Uint8Array;
  /** Among how many trustees the tally private key is split, and how many of them can count. */
  readonly trustees: { readonly shares: number; readonly threshold: number };
  /** The log's verifier key as C2SP signed-note writes it: `<origin>+<key id>+<base64>`. */
  readonly logKey: string;
  /** How each recorded vote is promised a place in the log; undefined in an election without promises. */
  readonly promises?: PromiseTerms | undefined;
}

export interface PromiseTerms {
  /** The verifier key of promises, `<log origin>/promise+<key id>+<base64>`. It is another key than the log's. */
  readonly key: string;
  /** Within how many seconds of a promise the record is in the log. 1 to 2,592,000, which is 30 days. */
  readonly delaySeconds: number;
}

/** Fits a gRPC message at its default limit (4 MiB) with room to spare. */
export const MAX_MANIFEST_BYTES = 1 << 20;

/**
 * Reads a manifest. Only the one canonical encoding (RFC 8785) of a valid manifest is accepted, so that equal
 * manifests have equal hashes. Throws a ServiceError that lists every problem found.
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) throw manifestRefusal([manifestProblem([], "is larger than 1 MiB")]);
  const json = checkManifestJson(parseJson(bytes));
  if (!equalBytes(canonical(json), bytes)) {
    throw manifestRefusal([manifestProblem([], "is not in canonical form (RFC 8785), or has a key twice")]);
  }
  const { promise_key: key, promise_delay: delaySeconds } = json;
  return {
    electionId: electionId(json.election_id),
    title: json.title,
    choices: json.choices,
    shards: json.shards,
    revoting: json.revoting,
    opensAt: json.opens_at,
    closesAt: json.closes_at,
    tallyKey: fromBase64(json.tally_key),
    trustees: json.trustees,
    logKey: json.log_key,
    ...(key === undefined || delaySeconds === undefined ? {} : { promises: { key, delaySeconds } }),
  };
}

/** The manifest's canonical bytes. Throws a ServiceError that lists every problem of an invalid one. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const bytes = canonical(
    checkManifestJson({
      format: MANIFEST_FORMAT,
      election_id: manifest.electionId,
      title: manifest.title,
      choices: manifest.choices,
      shards: manifest.shards,
      revoting: manifest.revoting,
      opens_at: manifest.opensAt,
      closes_at: manifest.closesAt,
      tally_key: toBase64(manifest.tallyKey),
      trustees: manifest.trustees,
      log_key: manifest.logKey,
      // RFC 8785 has no undefined: what is not there has no key.
      ...(manifest.promises && {
        promise_key: manifest.promises.key,
        promise_delay: manifest.promises.delaySeconds,
      }),
    }),
  );
  if (bytes.length > MAX_MANIFEST_BYTES) throw manifestRefusal([manifestProblem([], "is larger than 1 MiB")]);
  return bytes;
}

/** SHA-256 of the canonical bytes: every chain, voter key and sealed choice of the election is bound to it. */
export function manifestHash(manifest: Manifest): Hash {
  return sha256(encodeManifest(manifest));
}

/** From a choice's id to its place in the manifest. Build it once: it is asked for every vote. */
export function choiceIndex(manifest: Manifest): ReadonlyMap<string, number> {
  return new Map(manifest.choices.map((choice, index) => [choice.id, index]));
}

/** The log's origin: the first line of its checkpoints and the name of its key. */
export function logOrigin(manifest: Manifest): string {
  return nameOfKey(manifest.logKey);
}

function canonical(json: ManifestJson): Uint8Array {
  const encoded = serialize(json);
  // serialize() returns undefined only for undefined itself, as JSON.stringify() does.
  if (encoded === undefined) throw new TypeError("a manifest without a JSON form");
  return utf8(encoded);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    throw manifestRefusal([manifestProblem([], "is not JSON in UTF-8")], error);
  }
}

// The tally private key among its trustees: Shamir's secret sharing, so that any `threshold` of them can count and
// fewer learn nothing. docs/spec.md, "Tally share".
import { combine, split } from "shamir-secret-sharing";
import { z } from "zod";
import { decodeUtf8, equalBytes, fromBase64, toBase64, toHex, utf8 } from "../core/bytes.ts";
import { messageOf, ServiceError } from "../core/errors.ts";
import { type ElectionId, electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import { FormatError } from "./format-error.ts";
import type { Manifest } from "./manifest.ts";
import { TALLY_KEY_SIZE, type TallyKeyPair, tallyPublicKey } from "./tally-key.ts";

/**
 * One trustee's part of the tally private key. It names the tally key and not the manifest's hash: the manifest
 * contains the tally key, which is made, split and forgotten before there is a manifest.
 */
export interface TallyShare {
  readonly electionId: ElectionId;
  readonly tallyKey: Uint8Array;
  /** Which of the shares this is, from 1: a name for people. The share's point on the polynomial is its last byte. */
  readonly number: number;
  readonly shares: number;
  readonly threshold: number;
  /** 33 bytes. */
  readonly share: Uint8Array;
}

export const TALLY_SHARE_FORMAT = "psephos/tally-share/v1";

const SHARE_SIZE = TALLY_KEY_SIZE + 1;

/** Splits a new tally key. The caller hands the shares out and keeps neither them nor the private key. */
export async function splitTallyKey({
  electionId,
  keyPair,
  trustees,
}: {
  electionId: ElectionId;
  keyPair: TallyKeyPair;
  trustees: Manifest["trustees"];
}): Promise<TallyShare[]> {
  const { shares, threshold } = trustees;
  // A plain Uint8Array: the library refuses a Buffer.
  const parts = await split(new Uint8Array(keyPair.privateKey), shares, threshold);
  // The private key is about to exist only in these: better to find out now that they do not give it back.
  const again = await combine(parts.slice(-threshold));
  if (!equalBytes(again, keyPair.privateKey)) throw new Error("the split key does not combine");
  const tallyKey = keyPair.publicKey;
  return parts.map((share, index) => ({ electionId, tallyKey, number: index + 1, shares, threshold, share }));
}

/**
 * The tally private key from the trustees' shares; more than the threshold may be given. Throws a ServiceError when
 * they are too few, of another election, given twice, or do not combine to the key the choices were sealed to.
 */
export async function combineTallyShares(
  manifest: Manifest,
  shares: readonly TallyShare[],
): Promise<Uint8Array> {
  for (const share of shares) {
    const ours = share.electionId === manifest.electionId && equalBytes(share.tallyKey, manifest.tallyKey);
    if (!ours) throw refusal("WRONG_SHARE", `share ${share.number} is of another election or tally key`);
    if (share.share.length !== SHARE_SIZE) throw refusal("WRONG_SHARE", `share ${share.number} is malformed`);
  }
  const points = new Set(shares.map(({ share }) => share[TALLY_KEY_SIZE]));
  if (points.size < shares.length) throw refusal("WRONG_SHARE", "a share was given twice");
  const { threshold } = manifest.trustees;
  if (shares.length < threshold) {
    throw refusal("TOO_FEW_SHARES", `${threshold} shares are needed, ${shares.length} were given`);
  }

  const privateKey = await combine(shares.map(({ share }) => new Uint8Array(share)));
  // Shamir's scheme gives some key for any shares: only this tells whether it is the right one.
  if (!equalBytes(tallyPublicKey(privateKey), manifest.tallyKey)) {
    throw refusal(
      "WRONG_SHARE",
      "the shares do not give this election's tally key: at least one was altered",
    );
  }
  return privateKey;
}

const shareJson = z.strictObject({
  format: z.literal(TALLY_SHARE_FORMAT),
  election_id: z.string(),
  tally_key: z.string(),
  number: z.int().min(1).max(255),
  shares: z.int().min(2).max(255),
  threshold: z.int().min(2).max(255),
  share: z.string(),
  sha256: z.string(),
});

/** The share as the file its trustee keeps. */
export function encodeTallyShare(share: TallyShare): Uint8Array {
  const json: z.infer<typeof shareJson> = {
    format: TALLY_SHARE_FORMAT,
    election_id: share.electionId,
    tally_key: toBase64(share.tallyKey),
    number: share.number,
    shares: share.shares,
    threshold: share.threshold,
    share: toBase64(share.share),
    // So that a file damaged on a trustee's disk is found by itself, and not as "one of these is wrong".
    sha256: toHex(sha256(share.share)),
  };
  return utf8(`${JSON.stringify(json, undefined, 2)}\n`);
}

/** Reads a share file. Throws a FormatError; its message never contains the share. */
export function parseTallyShare(file: Uint8Array): TallyShare {
  try {
    const json = shareJson.parse(JSON.parse(decodeUtf8(file)));
    const share = fromBase64(json.share);
    if (share.length !== SHARE_SIZE) throw new RangeError(`the share must be ${SHARE_SIZE} bytes`);
    if (toHex(sha256(share)) !== json.sha256) throw new RangeError("damaged: its SHA-256 differs");
    const tallyKey = fromBase64(json.tally_key);
    if (tallyKey.length !== TALLY_KEY_SIZE) throw new RangeError("the tally key must be 32 bytes");
    const { number, shares, threshold } = json;
    return { electionId: electionId(json.election_id), tallyKey, number, shares, threshold, share };
  } catch (error) {
    // RangeErrors are this function's own and the ids'. A parser's message may quote what it read: the share.
    const why = error instanceof RangeError ? messageOf(error) : "not a share file";
    throw new FormatError(`tally share: ${why}`);
  }
}

function refusal(reason: string, message: string): ServiceError {
  return new ServiceError("failed-precondition", message, { reason });
}

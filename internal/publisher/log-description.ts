// What there is to know about a log before one reads it: `log.json`. docs/spec.md, "Log description". It is not signed:
// the key that a reader starts from comes from the manifest, or from somebody the reader trusts more.
import { toHex, utf8 } from "../core/bytes.ts";
import type { ElectionId } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { CLOSING } from "./closing-report.ts";
import { HISTORY } from "./history.ts";
import { CHECKPOINT, MANIFEST } from "./public-log.ts";
import { BLOCK_SIZE } from "./signed-head.ts";

export const LOG_DESCRIPTION = "log.json";

/** What an operator says of all logs of a deployment. */
export interface LogStatements {
  /** How long after a vote a checkpoint that covers it is published, at the latest, in seconds. */
  readonly maximumDelayS: number;
  /** The verifier key of AuditService's events, where it is known. */
  readonly eventKey?: string | undefined;
  /** The policy file whose witnesses the checkpoints are taken to. Whom to trust among them is for a reader to say. */
  readonly witnessPolicy?: string | undefined;
}

export interface LogDescription extends LogStatements {
  readonly election: ElectionId;
  readonly origin: string;
  readonly manifestHash: Hash;
  /** The verifier key that the manifest names. */
  readonly firstKey: string;
  /** The log's verifier keys that signed the newest checkpoint, in the order in which they came. */
  readonly keys: readonly string[];
}

export function encodeLogDescription(log: LogDescription): Uint8Array {
  const description = {
    format: "psephos/log/v1",
    election_id: log.election,
    origin: log.origin,
    manifest_hash: toHex(log.manifestHash),
    log_key: log.firstKey,
    keys: log.keys,
    ...(log.eventKey === undefined ? {} : { event_key: log.eventKey }),
    ...(log.witnessPolicy === undefined ? {} : { witness_policy: log.witnessPolicy }),
    size_unit: "entries",
    block_size: BLOCK_SIZE,
    maximum_delay_s: log.maximumDelayS,
    endpoints: {
      checkpoint: CHECKPOINT,
      numbered_checkpoint: "checkpoints/{number, 10 digits}",
      tile: "tile/{level}/{index}[.p/{width}]",
      entries: "tile/entries/{index}[.p/{width}]",
      manifest: MANIFEST,
      closing: CLOSING,
      history: HISTORY,
      key_changes: "key-changes/{number, 10 digits}",
    },
  };
  return utf8(`${JSON.stringify(description, null, 2)}\n`);
}

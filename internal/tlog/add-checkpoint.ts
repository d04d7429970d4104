// What a log asks of a witness (c2sp.org/tlog-witness, add-checkpoint): to cosign a checkpoint that extends the one it
// cosigned last.
//
//   old 20852014
//   PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//   …
//
//   psephos.local/vermont-2020
//   20852163
//   CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//
//   — psephos.local/vermont-2020 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
import { decodeUtf8, toBase64 } from "../core/bytes.ts";
import type { TreeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { parseCount, parseHash } from "./checkpoint.ts";
import { malformed } from "./errors.ts";

/** Some witnesses refuse longer bodies. A proof takes 2.5 kB at most, which leaves much for the checkpoint. */
export const MAX_ADD_CHECKPOINT_BYTES = 16 * 1024;
/** The content type of a 409, whose body says what size the witness has. */
export const TREE_SIZE_TYPE = "text/x.tlog.size";

/** The specification's. */
const MAX_PROOF_LINES = 63;

export interface AddCheckpoint {
  /** Of the checkpoint that the witness cosigned last; 0 if it never did. */
  readonly oldSize: TreeSize;
  readonly proof: readonly Hash[];
  /** The signed checkpoint, as it is. */
  readonly note: string;
}

export function formatAddCheckpoint({ oldSize, proof, note }: AddCheckpoint): string {
  return `old ${oldSize}\n${proof.map((hash) => `${toBase64(hash)}\n`).join("")}\n${note}`;
}

/** Reads a request's body. The note in it is **unverified**. */
export function parseAddCheckpoint(body: Uint8Array): AddCheckpoint {
  if (body.length > MAX_ADD_CHECKPOINT_BYTES) {
    throw malformed(`a request is longer than ${MAX_ADD_CHECKPOINT_BYTES} bytes`);
  }
  let text: string;
  try {
    text = decodeUtf8(body);
  } catch (error) {
    throw malformed("a request is not UTF-8", error);
  }
  const split = text.indexOf("\n\n");
  if (split < 0) throw malformed("a request has no blank line before its checkpoint");
  const [old = "", ...hashes] = text.slice(0, split).split("\n");
  if (!old.startsWith("old ")) throw malformed('a request\'s first line is "old " and a size');
  if (hashes.length > MAX_PROOF_LINES) throw malformed(`a proof has more than ${MAX_PROOF_LINES} hashes`);
  return {
    oldSize: parseCount("an old size", old.slice("old ".length)),
    proof: hashes.map((hash) => parseHash("a proof's hash", hash)),
    note: text.slice(split + 2),
  };
}

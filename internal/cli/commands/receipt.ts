import { decodeEntry } from "../../ballot/entry.ts";
import { parseManifest } from "../../ballot/manifest.ts";
import { type ElectionId, positionOf, voteId } from "../../core/ids.ts";
import { asHash } from "../../core/sha256.ts";
import { openCheckpoint } from "../../tlog/checkpoint.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import { verifyInclusion } from "../../tlog/proof.ts";
import { formatTlogProof } from "../../tlog/tlog-proof.ts";
import { leafHash } from "../../tlog/tree.ts";
import { httpSource } from "../../verify/http-source.ts";
import type { CliContext } from "../context.ts";
import { UnreachableError, UsageError } from "../exit-code.ts";

/**
 * A receipt: proof, in the form of c2sp.org/tlog-proof, that a vote's entry is in the log the public sees. It says that
 * the vote is recorded and nothing of how it was cast. It is verified here before it is handed out.
 */
export async function fetchReceipt(
  context: CliContext,
  electionId: ElectionId,
  vote: number,
): Promise<string> {
  const source = httpSource(context.profile.public, electionId);
  const [note, manifestBytes] = await Promise.all([source("checkpoint"), source("manifest.json")]);
  if (!note || !manifestBytes)
    throw new UnreachableError("the election has no published checkpoint yet: try again soon");
  const manifest = parseManifest(manifestBytes);
  const { checkpoint } = openCheckpoint({ note, log: NoteVerifier.parse(manifest.logKey) });

  const answer = await context.audit("client").getInclusionProof({
    electionId,
    entry: { case: "voteId", value: BigInt(vote) },
    treeSize: BigInt(checkpoint.size),
  });
  const { shard, sequence } = positionOf(voteId(vote), manifest.shards);
  const entry = decodeEntry(answer.entry);
  if (entry.type !== "vote" || entry.shard !== shard || entry.sequence !== sequence) {
    throw new UsageError("AuditService answered with the entry of another vote");
  }
  const index = Number(answer.index);
  const proof = answer.proof.map((hash) => asHash(hash));
  verifyInclusion({
    leaf: leafHash(answer.entry),
    index,
    size: checkpoint.size,
    proof,
    root: checkpoint.root,
  });
  return formatTlogProof({ extra: answer.entry, index, proof, checkpoint: new TextDecoder().decode(note) });
}

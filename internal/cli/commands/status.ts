import { SealingState } from "../../../gen/ts/psephos/audit/v1/audit_pb.js";
import { parseManifest } from "../../ballot/manifest.ts";
import type { ElectionId } from "../../core/ids.ts";
import { openCheckpoint } from "../../tlog/checkpoint.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import { httpSource } from "../../verify/http-source.ts";
import type { CliContext } from "../context.ts";
import { electionJson, showElection } from "./election.ts";

export interface Status {
  readonly election: string;
  readonly state: string;
  readonly votes: number;
  /** Entries in AuditService's log; undefined when it cannot be asked. */
  readonly log_size: number | undefined;
  readonly sealing: string | undefined;
  readonly halted_because: string | undefined;
  /** Entries in the newest signed checkpoint that the public sees. */
  readonly published_size: number | undefined;
}

/** Where an election stands in each part of the system. A part that does not answer is left out, not fatal. */
export async function statusOf(context: CliContext, electionId: ElectionId): Promise<Status> {
  const election = await showElection(context, electionId);
  const head = await context
    .audit("operator")
    .getHead({ electionId })
    .then((answer) => answer.head)
    .catch(() => undefined);
  const { state } = electionJson(election) as { state: string };
  return {
    election: electionId,
    state,
    votes: Number(election.votes),
    log_size: head && Number(head.treeSize),
    sealing: head && (SealingState[head.state] ?? "unknown").toLowerCase(),
    halted_because: head?.haltedBecause || undefined,
    published_size: await publishedSize(context, electionId),
  };
}

/** The size of the public checkpoint, verified with the manifest's key; undefined while there is none. */
export async function publishedSize(
  context: CliContext,
  electionId: ElectionId,
): Promise<number | undefined> {
  const source = httpSource(context.profile.public, electionId);
  try {
    const [note, manifest] = await Promise.all([source("checkpoint"), source("manifest.json")]);
    if (!note || !manifest) return undefined;
    const log = NoteVerifier.parse(parseManifest(manifest).logKey);
    return openCheckpoint({ note, log }).checkpoint.size;
  } catch {
    return undefined;
  }
}

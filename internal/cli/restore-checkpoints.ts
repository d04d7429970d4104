// The public checkpoints that evidence has to reach, from every place that was named.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import type { ElectionToRestore, PublicCheckpoint } from "../restore/restore.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { httpSource } from "../verify/http-source.ts";
import { UsageError } from "./exit-code.ts";

export interface CheckpointPlaces {
  readonly ids: readonly ElectionId[];
  /** Files, each a checkpoint of the election that it names. */
  readonly checkpoint?: readonly string[];
  /** A URL or a folder. */
  readonly public?: string;
  /** The Publisher's, where its configuration was given. */
  readonly publicDirectory: string | undefined;
  /** Asked only for an election of which no other place is named. */
  readonly usual: string | undefined;
  readonly withoutCheckpoint: boolean;
  readonly logKey?: readonly string[];
}

/** Throws a UsageError when an election has no checkpoint and nobody said to do without, or one is named in vain. */
export async function electionsToRestore(places: CheckpointPlaces): Promise<ElectionToRestore[]> {
  const { ids, withoutCheckpoint } = places;
  const files = await Promise.all((places.checkpoint ?? []).map(readCheckpoint));
  const keys = (places.logKey ?? []).map((key) => ({ id: electionOf(NoteVerifier.parse(key).name), key }));
  expectRestored("--checkpoint", files, ids);
  expectRestored("--log-key", keys, ids);
  const named = [places.public, places.publicDirectory].filter((place) => place !== undefined);
  const elections = await Promise.all(
    ids.map(async (electionId) => {
      const given = files.filter(({ id }) => id === electionId);
      // What is usual is not asked where somebody said to do without.
      const usual = given.length + named.length > 0 || withoutCheckpoint ? undefined : places.usual;
      const asked = usual === undefined ? named : [usual];
      const published = await Promise.all(asked.map((place) => publicCheckpoint(place, electionId)));
      const checkpoints = [...given, ...published.filter((found) => found !== undefined)];
      return { electionId, checkpoints, logKey: keys.find(({ id }) => id === electionId)?.key };
    }),
  );
  const without = elections.filter(({ checkpoints }) => checkpoints.length === 0);
  if (without.length > 0 && !withoutCheckpoint) {
    throw new UsageError(
      `there is no public checkpoint of ${without.map(({ electionId }) => electionId).join(", ")}, so nothing shows that ` +
        "the evidence is complete: name one with --checkpoint or --public, or say --without-checkpoint",
    );
  }
  return elections;
}

function expectRestored(
  option: string,
  found: readonly { readonly id: ElectionId | undefined }[],
  ids: readonly ElectionId[],
): void {
  for (const { id } of found) {
    if (id && ids.includes(id)) continue;
    throw new UsageError(`there is a ${option} of ${id ?? "no election"}, which is not to be restored`);
  }
}

/** A checkpoint names its log in its first line, and the log its election: `<log prefix>/<election>`. */
async function readCheckpoint(file: string): Promise<PublicCheckpoint & { readonly id: ElectionId }> {
  const note = await readFile(file).catch((error) => {
    throw new UsageError(`${file}: ${messageOf(error)}`, { cause: error });
  });
  const [origin = ""] = note.toString("utf8").split("\n", 1);
  const id = electionOf(origin);
  if (!id) throw new UsageError(`${file} is not a checkpoint of an election`);
  return { id, name: `the public checkpoint in ${file}`, note };
}

function electionOf(origin: string): ElectionId | undefined {
  const id = origin.slice(origin.lastIndexOf("/") + 1);
  return isElectionId(id) ? id : undefined;
}

async function publicCheckpoint(place: string, id: ElectionId): Promise<PublicCheckpoint | undefined> {
  const note = await readPublic(place, id);
  return note && { name: `the public checkpoint at ${place}`, note };
}

async function readPublic(place: string, id: ElectionId): Promise<Uint8Array | undefined> {
  if (URL.canParse(place)) return httpSource(place, id)("checkpoint");
  try {
    return await readFile(join(place, id, "checkpoint"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

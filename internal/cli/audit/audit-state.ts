// Where an audit stands, written now and then, so that it can go on after an interruption. Whoever can write the file
// can make an audit skip what it likes: it is to be kept like the report.
import { mkdir, open, readFile, rename, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type ClosingEntry, decodeEntry, encodeEntry } from "../../ballot/entry.ts";
import { fromHex, toHex } from "../../core/bytes.ts";
import { sequence, shardId, treeSize, voteId } from "../../core/ids.ts";
import { asHash } from "../../core/sha256.ts";
import { CompactRange } from "../../tlog/compact-range.ts";
import { LogKeys } from "../../tlog/log-keys.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import type { EvidencePosition } from "../../verify/evidence-log.ts";
import type { Findings } from "../../verify/report.ts";
import { UsageError } from "../exit-code.ts";

/** What an audit is of. One that goes on must be of the same. */
export interface AuditSubject {
  readonly election: string;
  /** Lower-case hex. */
  readonly manifestHash: string;
  readonly evidence: string;
  readonly logKey: string;
  readonly eventKey: string | null;
  readonly retentionMode: string | null;
  readonly blocks: { readonly first: number; readonly last: number | null };
}

export interface AuditState {
  readonly subject: AuditSubject;
  /** ISO 8601. */
  readonly startedAt: string;
  /** How often it was taken up again. */
  readonly resumed: number;
  /** The last vote checkpoint that was verified. */
  readonly checkpoint: number;
  readonly position: EvidencePosition;
  /** What was found up to there. */
  readonly findings: Findings;
  /** How much of each voters' file counts; empty where the one-vote rule is not applied. */
  readonly voters: readonly number[];
}

const FORMAT = "psephos/audit-state/v1";
const FILE = "state.json";

const hash = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .transform((hex) => asHash(fromHex(hex)));
const count = z.int().nonnegative();
const place = z.strictObject({
  object: z.string().optional(),
  index: count.optional(),
  shard: count.transform((value) => shardId(value)).optional(),
  sequence: count.transform((value) => sequence(value)).optional(),
  problem: z.string(),
});

const stateJson = z.strictObject({
  format: z.literal(FORMAT),
  subject: z.strictObject({
    election: z.string(),
    manifestHash: z.string(),
    evidence: z.string(),
    logKey: z.string(),
    eventKey: z.string().nullable(),
    retentionMode: z.string().nullable(),
    blocks: z.strictObject({ first: count, last: count.nullable() }),
  }),
  startedAt: z.iso.datetime(),
  resumed: count,
  checkpoint: count,
  position: z.strictObject({
    size: count,
    heads: z.array(z.strictObject({ sequence: count, hash, cast_at: count })).nullable(),
    tree: z.array(hash).nullable(),
    last_vote: z
      .strictObject({ id: z.int().min(1), hash })
      .or(z.literal("none"))
      .nullable(),
    closing: z.string().nullable(),
    keys: z.strictObject({
      first: z.string(),
      changes: z.array(z.strictObject({ index: count, to: z.string() })),
    }),
  }),
  findings: z.strictObject({
    checked: z.strictObject({
      notes: count,
      entries: count,
      tiles: count,
      segments: count,
      records: count,
      events: count,
      checkpoints: count,
      locks: count,
      rows: count,
      bytes: count,
    }),
    problems: z.array(place),
    warnings: z.array(place),
    notChecked: z.array(z.string()),
    unreferenced: z.array(z.string()),
    archived: z.array(
      z.strictObject({
        key: z.string(),
        versionId: z.string().optional(),
        access: z.enum(["archived", "restoring"]),
      }),
    ),
    moreProblems: count,
    moreArchived: count,
  }),
  voters: z.array(count),
});

/** Replaces what is there in one step. */
export async function saveState(folder: string, state: AuditState): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { position, findings, ...rest } = state;
  const { heads, tree, lastVote, closing, keys } = position;
  const text = JSON.stringify({
    format: FORMAT,
    ...rest,
    position: {
      size: position.size,
      heads:
        heads?.map((head) => ({ sequence: head.sequence, hash: toHex(head.hash), cast_at: head.castAt })) ??
        null,
      tree: tree?.hashes.map(toHex) ?? null,
      last_vote:
        lastVote === null ? "none" : lastVote ? { id: lastVote.id, hash: toHex(lastVote.hash) } : null,
      closing: closing ? toHex(encodeEntry(closing)) : null,
      keys: {
        first: String(keys.first),
        changes: keys.changes.map(({ index, to }) => ({ index, to: String(to) })),
      },
    },
    findings,
  });
  const [file, temporary] = [join(folder, FILE), join(folder, `${FILE}.new`)];
  {
    await using handle = await open(temporary, "w", 0o600);
    await handle.writeFile(text);
    await handle.sync();
  }
  await rename(temporary, file);
}

/** Removes all that an audit left in a folder, and the folder unless it has something else. */
export async function removeState(folder: string): Promise<void> {
  await rm(join(folder, FILE), { force: true });
  await rm(join(folder, "voters"), { recursive: true, force: true });
  await rmdir(folder).catch(() => {});
}

/** What an audit left in a folder. Throws a UsageError when it is none, or one of something else. */
export async function loadState(folder: string, subject: AuditSubject): Promise<AuditState> {
  const file = join(folder, FILE);
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) throw new UsageError(`there is no audit to resume in ${folder}`);
  let state: AuditState;
  try {
    state = stateOf(stateJson.parse(JSON.parse(text)));
  } catch (error) {
    throw new UsageError(`${file} is not an audit's state: begin anew, without --resume`, { cause: error });
  }
  for (const key of Object.keys(subject) as (keyof AuditSubject)[]) {
    // Both are plain JSON with their keys in one order.
    const [is, was] = [JSON.stringify(subject[key]), JSON.stringify(state.subject[key])];
    if (is !== was) throw new UsageError(`the audit in ${folder} is of another ${key}: ${was}, not ${is}`);
  }
  return state;
}

function stateOf({ position, ...rest }: z.output<typeof stateJson>): AuditState {
  const { size, heads, tree, last_vote: lastVote, closing, keys } = position;
  return {
    ...rest,
    position: {
      size,
      heads: heads?.map((head, shard) => ({
        shard: shardId(shard),
        sequence: sequence(head.sequence),
        hash: head.hash,
        castAt: head.cast_at,
      })),
      tree: tree ? CompactRange.of(treeSize(size), tree) : undefined,
      lastVote:
        lastVote === "none" ? null : lastVote ? { id: voteId(lastVote.id), hash: lastVote.hash } : undefined,
      closing: closing === null ? undefined : closingOf(closing),
      keys: new LogKeys(
        NoteVerifier.parse(keys.first),
        keys.changes.map(({ index, to }) => ({ index, to: NoteVerifier.parse(to) })),
      ),
    },
  };
}

function closingOf(hex: string): ClosingEntry {
  const entry = decodeEntry(fromHex(hex));
  if (entry.type !== "closing") throw new RangeError("not a closing entry");
  return entry;
}

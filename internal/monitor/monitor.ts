import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { decodeUtf8, equalBytes } from "../core/bytes.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { ElectionId, TreeSize } from "../core/ids.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { keyChangePath, readKeyChanges } from "../evidence/key-change.ts";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { TlogError } from "../tlog/errors.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { verifyConsistency } from "../tlog/proof.ts";
import { readEntries } from "../tlog/read-entries.ts";
import type { Tile } from "../tlog/tile.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import type { WitnessPolicy } from "../tlog/witness-policy.ts";
import { EntrySequence } from "../verify/entry-sequence.ts";
import { type PublicSource, SourceError } from "../verify/http-source.ts";
import { VerificationReport } from "../verify/report.ts";
import { verifyKeyChange } from "../verify/verify-key-change.ts";
import { problemWith } from "../verify/verify-tree.ts";
import { type Alert, AlertError } from "./alert.ts";
import type { MonitorState, Seen } from "./monitor-state.ts";

export interface MonitorOptions {
  /** The log, asked anew for each look. */
  readonly source: () => PublicSource;
  readonly electionId: ElectionId;
  /** One of the log's verifier keys as one knows it; without it, the one that the first manifest names is believed. */
  readonly logKey?: string | undefined;
  readonly state: MonitorState;
  /** Where others show what they saw: a witness's, a mirror's or another monitor's checkpoint. */
  readonly others?: readonly { readonly url: string; readonly read: () => Promise<Uint8Array | undefined> }[];
  /** Who must have cosigned. */
  readonly policy?: WitnessPolicy | undefined;
  /** For how long a log that is not closed may stay as it is. */
  readonly stallMs?: number | undefined;
  /** How long the log may take to show what somebody else saw. */
  readonly patienceMs?: number | undefined;
  readonly clock: Clock;
}

export interface Look {
  /** As far as the log is verified now; undefined if it never was. */
  readonly seen: Seen | undefined;
  readonly alerts: readonly Alert[];
}

/** What one look has in hand once keys and signature are known to be right. */
interface Signed extends Checkpoint {
  readonly note: string;
  readonly manifest: Manifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestHash: Hash;
  readonly keys: LogKeys;
}

const PATIENCE_MS = 10_000;
const POLL_MS = 500;
/** How many tiles are compared at once. */
const AHEAD = 16;

/**
 * Follows one log. Each look verifies all that came since the one before it: the checkpoint, that it extends the last, every
 * new entry and tile, and numbered checkpoints. What it keeps is what was without a fault, so that a fault is told again at
 * each look until the log is what it should be.
 */
export class Monitor {
  readonly #options: MonitorOptions;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  async look(): Promise<Look> {
    const { state, clock } = this.#options;
    let seen = await state.load();
    const alerts: Alert[] = [];
    try {
      const source = this.#options.source();
      let signed = await this.#openCheckpoint(source, seen);
      if (seen) signed = await this.#checkGrowth(source, seen, signed);
      await checkKeyChanges(source, signed);
      if (!seen || signed.size > seen.size) {
        const { heads, closed } = await this.#readNew(source, seen, signed);
        const { origin, note, size, root, manifestHash } = signed;
        const since = Math.floor(clock.nowMicros() / 1e6);
        const keyChanges = changesOf(signed.keys);
        seen = { origin, note, size, root, manifestHash, keyChanges, heads, closed, since };
        await state.save(seen, signed.manifestBytes);
      }
      alerts.push(...this.#checkWitnesses(signed));
      alerts.push(...(await this.#compareWithOthers(source, signed)));
    } catch (error) {
      alerts.push(alertOf(error));
    }
    const stall = seen && this.#stallOf(seen);
    return { seen, alerts: stall ? [...alerts, stall] : alerts };
  }

  async #openCheckpoint(source: PublicSource, seen: Seen | undefined): Promise<Signed> {
    const { electionId } = this.#options;
    const manifestBytes = await source("manifest.json");
    const refuseManifest = (message: string) =>
      new AlertError({ kind: "manifest", object: "manifest.json", message });
    if (!manifestBytes) throw refuseManifest("is not there");
    const manifestHash = sha256(manifestBytes);
    if (seen && !equalBytes(manifestHash, seen.manifestHash)) {
      throw refuseManifest("is another than the log began with");
    }
    let manifest: Manifest;
    try {
      manifest = parseManifest(manifestBytes);
    } catch (error) {
      throw refuseManifest(messageOf(error));
    }
    if (manifest.electionId !== electionId) throw refuseManifest(`is of the election ${manifest.electionId}`);
    const keys = await this.#followKeys(source, manifest, seen);
    // After the changes of key, so that it is no older than they are.
    return { ...(await readCheckpoint(source, keys)), manifest, manifestBytes, manifestHash, keys };
  }

  /** The keys that the manifest's leads to, which must go on from those that were seen. */
  async #followKeys(source: PublicSource, manifest: Manifest, seen: Seen | undefined): Promise<LogKeys> {
    const { logKey } = this.#options;
    let keys: LogKeys;
    try {
      keys = await readKeyChanges(NoteVerifier.parse(manifest.logKey), source);
    } catch (error) {
      if (error instanceof SourceError) throw error;
      throw new AlertError({ kind: "key", message: messageOf(error) }, { cause: error });
    }
    if (logKey !== undefined && !keys.all.map(String).includes(logKey)) {
      const message = "names another log key than the one given, and no change of key leads to that";
      throw new AlertError({ kind: "manifest", object: "manifest.json", message });
    }
    const changes = changesOf(keys);
    for (const [i, { index, to }] of (seen?.keyChanges ?? []).entries()) {
      const now = changes[i];
      if (now?.index === index && now.to === to) continue;
      const message = now ? "is another change than was seen before" : "is not there any more";
      throw new AlertError({ kind: "key", object: keyChangePath(i + 1), message });
    }
    return keys;
  }

  /** The checkpoint that is seen, or extends what was seen. An older one is looked at again: a cache may still have it. */
  async #checkGrowth(source: PublicSource, seen: Seen, signed: Signed): Promise<Signed> {
    if (signed.size < seen.size) {
      if (!(await this.#extends(source, signed, seen))) throw await this.#forkOf(seen, signed);
      return this.#checkGrowth(source, seen, await this.#catchUp(source, signed, seen.size));
    }
    if (await this.#extends(source, seen, signed)) return signed;
    throw await this.#forkOf(seen, signed);
  }

  #forkOf(seen: Seen, signed: Signed): Promise<AlertError> {
    return this.#fork("checkpoint", seen.note, signed.note, `of sizes ${seen.size} and ${signed.size}`);
  }

  /** Whether a tree is the other one as it was. Throws what the tiles throw that should show it. */
  async #extends(source: PublicSource, older: Checkpoint, newer: Checkpoint): Promise<boolean> {
    if (older.size === newer.size) return equalBytes(older.root, newer.root);
    const reader = new TileReader({ fetch: source, size: newer.size, root: newer.root });
    const proof = await reader.consistencyProof(older.size);
    try {
      const { size: oldSize, root: oldRoot } = older;
      verifyConsistency({ oldSize, oldRoot, newSize: newer.size, newRoot: newer.root, proof });
      return true;
    } catch (error) {
      if (error instanceof TlogError && error.kind === "unverified") return false;
      throw error;
    }
  }

  async #fork(object: string, seen: string, other: string, what: string): Promise<AlertError> {
    const folder = await this.#options.state.keepFork(seen, other);
    const message = `the log signed two histories, ${what}; the proof is ${folder ?? "one of many"} in the monitor's folder`;
    return new AlertError({ kind: "fork", object, message });
  }

  /** Every entry and tile that came, by which the tree of before becomes the signed one. */
  async #readNew(
    source: PublicSource,
    seen: Seen | undefined,
    signed: Signed,
  ): Promise<Pick<Seen, "heads" | "closed">> {
    const { manifest, manifestHash, size, root } = signed;
    if (seen?.closed)
      throw new AlertError({ kind: "chain", message: "the log has entries after its closing entry" });
    if (seen && seen.heads.length !== manifest.shards) {
      throw new Error(`the monitor's own state has ${seen.heads.length} shards of ${manifest.shards}`);
    }
    const report = new VerificationReport();
    const sequence = new EntrySequence({ manifest, manifestHash, size, report, heads: seen?.heads });
    const tree = seen ? await GrowingTree.load(seen.size, source, seen.root) : GrowingTree.empty();
    const compare = (): Promise<void> => compareTiles(tree.takeTiles(), source);
    for await (const { entries } of readEntries(source, tree.size, size)) {
      for (const entry of entries) {
        sequence.accept(tree.size, entry);
        tree.append(entry);
        if (tree.size % BLOCK_ENTRIES > 0) continue;
        await compare();
        await this.#checkNumbered(source, signed, tree);
      }
    }
    // The tiles do extend what was seen, as was checked before: the entries are not those of the tiles.
    if (!equalBytes(tree.root(), root)) throw await badBundle(source, signed, seen?.size ?? 0);
    await compare();
    const closed = sequence.closing !== undefined;
    if (closed && size % BLOCK_ENTRIES > 0) await this.#checkNumbered(source, signed, tree);
    const [problem] = report.problems;
    if (problem) throw new AlertError({ kind: "chain", object: problem.object, message: describe(problem) });
    // They are known: nothing was skipped.
    return { heads: sequence.heads.filter((head) => head !== undefined), closed };
  }

  /** The numbered checkpoint of a block that the tree has just come to the end of. */
  async #checkNumbered(source: PublicSource, signed: Signed, tree: GrowingTree): Promise<void> {
    const object = `checkpoints/${String(Math.ceil(tree.size / BLOCK_ENTRIES)).padStart(10, "0")}`;
    const refuse = (message: string) => new AlertError({ kind: "checkpoint", object, message });
    const note = await source(object);
    if (!note) throw refuse("is not there");
    let numbered: Checkpoint;
    try {
      numbered = openCheckpoint({ note, log: signed.keys }).checkpoint;
    } catch (error) {
      throw refuse(messageOf(error));
    }
    if (numbered.size !== tree.size) throw refuse(`is of size ${numbered.size}, not ${tree.size}`);
    if (!equalBytes(numbered.root, tree.root())) {
      throw await this.#fork(
        object,
        signed.note,
        decodeUtf8(note),
        `of sizes ${signed.size} and ${numbered.size}`,
      );
    }
  }

  #checkWitnesses({ note, keys, size }: Signed): Alert[] {
    const { policy } = this.#options;
    if (!policy) return [];
    const alert = (message: string): Alert => ({ kind: "unwitnessed", object: "checkpoint", message });
    try {
      const witnesses = policy.witnesses.map(({ verifier }) => verifier);
      const { cosignatures } = openCheckpoint({ note, log: keys, witnesses });
      const cosigners = cosignatures.map(({ verifier }) => verifier);
      if (policy.isSatisfiedBy(cosigners)) return [];
      return [alert(`of size ${size} has ${cosigners.length} cosignatures, which are no quorum`)];
    } catch (error) {
      return [alert(messageOf(error))];
    }
  }

  /** What others saw must be what is shown here, as it was then. */
  async #compareWithOthers(source: PublicSource, signed: Signed): Promise<Alert[]> {
    const looks = (this.#options.others ?? []).map(async ({ url, read }): Promise<Alert[]> => {
      try {
        const bytes = await read();
        // A witness that has not seen the log yet has nothing to show.
        if (!bytes) return [];
        const { checkpoint: other } = openCheckpoint({ note: bytes, log: signed.keys });
        const mine = other.size > signed.size ? await this.#catchUp(source, signed, other.size) : signed;
        if (await this.#extends(source, other, mine)) return [];
        throw await this.#fork(url, mine.note, decodeUtf8(bytes), `of sizes ${mine.size} and ${other.size}`);
      } catch (error) {
        if (error instanceof SourceError)
          return [{ kind: "unreachable", object: url, message: error.message }];
        if (error instanceof AlertError) return [error.alert];
        return [{ kind: "checkpoint", object: url, message: messageOf(error) }];
      }
    });
    return (await Promise.all(looks)).flat();
  }

  /**
   * The log's checkpoint once it has come as far as it was seen, here or by somebody else. A witness is ahead by design: it
   * cosigns before the log shows.
   */
  async #catchUp(source: PublicSource, signed: Signed, size: TreeSize): Promise<Signed> {
    const { clock, patienceMs = PATIENCE_MS } = this.#options;
    const until = clock.nowMicros() + patienceMs * 1000;
    for (let now = signed; ; now = { ...signed, ...(await readCheckpoint(source, signed.keys)) }) {
      if (now.size >= size) return now;
      if (clock.nowMicros() >= until) {
        const message = `is of size ${now.size}, after one of ${size} was seen`;
        throw new AlertError({ kind: "rollback", object: "checkpoint", message });
      }
      await clock.sleep(POLL_MS);
    }
  }

  #stallOf({ size, since, closed }: Seen): Alert | undefined {
    const { stallMs, clock } = this.#options;
    const seconds = Math.floor(clock.nowMicros() / 1e6) - since;
    if (closed || stallMs === undefined || seconds * 1000 < stallMs) return undefined;
    return { kind: "stall", object: "checkpoint", message: `is of size ${size} for ${seconds} seconds` };
  }
}

/** Throws an AlertError unless it is there, and signed by the key that its size takes. */
async function readCheckpoint(
  source: PublicSource,
  keys: LogKeys,
): Promise<Checkpoint & { readonly note: string }> {
  const object = "checkpoint";
  const bytes = await source(object);
  if (!bytes) throw new AlertError({ kind: "checkpoint", object, message: "is not there" });
  try {
    const { checkpoint } = openCheckpoint({ note: bytes, log: keys });
    if (checkpoint.size === 0) throw new Error("is of a log without its manifest's entry");
    return { ...checkpoint, note: decodeUtf8(bytes) };
  } catch (error) {
    throw new AlertError({ kind: "checkpoint", object, message: messageOf(error) }, { cause: error });
  }
}

/** At each look, and not once: a file that is made anew has another checkpoint. */
async function checkKeyChanges(source: PublicSource, { keys, ...checkpoint }: Signed): Promise<void> {
  for (let number = 1; number <= keys.changes.length; number++) {
    try {
      await verifyKeyChange(source, { keys, number, checkpoint });
    } catch (error) {
      if (error instanceof SourceError) throw error;
      const object = keyChangePath(number);
      throw new AlertError({ kind: "key", object, message: messageOf(error) }, { cause: error });
    }
  }
}

function changesOf({ changes }: LogKeys): Seen["keyChanges"] {
  return changes.map(({ index, to }) => ({ index, to: to.toString() }));
}

async function compareTiles(tiles: readonly Tile[], source: PublicSource): Promise<void> {
  for (let i = 0; i < tiles.length; i += AHEAD) {
    await Promise.all(
      tiles.slice(i, i + AHEAD).map(async (tile) => {
        const problem = await problemWith(tile, source);
        if (problem) throw new AlertError({ kind: "tile", object: tile.path, message: problem });
      }),
    );
  }
}

/** The first entry bundle that does not fit its tile. */
async function badBundle(source: PublicSource, { size, root }: Signed, from: number): Promise<unknown> {
  const reader = new TileReader({ fetch: source, size, root });
  try {
    for (let index = from; index < size; index++) await reader.entry(index);
  } catch (error) {
    return error;
  }
  return new AlertError({ kind: "tile", message: "the entries were not the signed ones, and now are" });
}

function describe({ index, problem }: VerificationReport["problems"][number]): string {
  return index === undefined ? problem : `entry ${index} ${problem}`;
}

function alertOf(error: unknown): Alert {
  if (error instanceof AlertError) return error.alert;
  if (error instanceof TlogError) return { kind: "tile", object: error.path, message: error.message };
  if (error instanceof SourceError) return { kind: "unreachable", message: error.message };
  throw error;
}

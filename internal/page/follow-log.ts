// Follows a log from this browser: asks for its checkpoint again and again, and believes a newer one only once it is shown
// to extend the one before. What it saw last stays in the browser, so that also a visitor of next week is not told another
// history than today's.
import { type ClosingEntry, decodeEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import { decodeUtf8, equalBytes } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { readAtMost } from "../core/read-body.ts";
import { type Checkpoint, openCheckpoint } from "../tlog/checkpoint.ts";
import { TlogError, unverified } from "../tlog/errors.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { MAX_NOTE_SIZE, parseNote } from "../tlog/note.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { addressOf, type Election, sourceOf } from "./election.ts";
import { type OpenedWithKeys, openWithKeys } from "./open-checkpoint.ts";
import { requireExtends } from "./require-extends.ts";

/** When, in seconds since 1970, and how many entries the log then had. */
export type Point = readonly [seconds: number, size: number];

export interface SeenCheckpoint extends OpenedWithKeys {
  readonly note: string;
  /** When it was published, in milliseconds since 1970 by this browser's clock; undefined where the server does not say. */
  readonly publishedAt: number | undefined;
  /** Signatures on it of nobody known. */
  readonly unknownSignatures: number;
  /** The last entry of a closed log. */
  readonly closing: ClosingEntry | undefined;
}

export interface LogState {
  /** The newest checkpoint that verified. */
  readonly seen: SeenCheckpoint | undefined;
  /** What this browser knew from an earlier visit. */
  readonly remembered: Checkpoint | undefined;
  readonly points: readonly Point[];
  /** How often the log was asked and answered, since when, and when last. */
  readonly asked: number;
  readonly answered: number;
  readonly since: number;
  readonly answeredAt: number | undefined;
  /** Why the log is not to be believed. It stays. */
  readonly contradiction: string | undefined;
  /** Why it could not be read the last time. */
  readonly failure: string | undefined;
}

export interface FollowOptions {
  readonly election: Election;
  readonly onChange: (state: LogState) => void;
  /** Keeps one text under a name, over visits: localStorage. */
  readonly memory: Pick<Storage, "getItem" | "setItem">;
  readonly signal: AbortSignal;
  readonly pollMs?: number;
}

const POLL_MS = 2_000;
const TIMEOUT_MS = 10_000;
const MAX_HISTORY_BYTES = 128 * 1024;
/** As many as history.json has. */
const MAX_POINTS = 1_440;

/** Until `signal` says so. */
export async function followLog(options: FollowOptions): Promise<void> {
  const { signal, pollMs = POLL_MS } = options;
  const follower = new LogFollower(options);
  await follower.begin();
  while (!signal.aborted) {
    if (document.visibilityState === "visible") await follower.look();
    await pause(pollMs, signal);
  }
}

/** Ends early when the page is shown again: nobody is to look at old figures. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const ending = new AbortController();
    const end = () => {
      ending.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end, { signal: ending.signal });
    document.addEventListener("visibilitychange", end, { signal: ending.signal });
  });
}

class LogFollower {
  readonly #options: FollowOptions;
  #state: LogState = {
    ...{ seen: undefined, remembered: undefined, points: [], asked: 0, answered: 0, since: Date.now() },
    ...{ answeredAt: undefined, contradiction: undefined, failure: undefined },
  };

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  async begin(): Promise<void> {
    const { election } = this.#options;
    this.#change({ points: await readHistory(election) });
  }

  async look(): Promise<void> {
    this.#change({ asked: this.#state.asked + 1 });
    try {
      const { note, publishedAt } = await fetchNote(this.#options.election);
      this.#change({ answered: this.#state.answered + 1, answeredAt: Date.now(), failure: undefined });
      const { seen } = this.#state;
      if (note !== seen?.note) await this.#accept(note, publishedAt);
      else if (publishedAt !== undefined) this.#change({ seen: { ...seen, publishedAt } });
    } catch (error) {
      // A tile that is missing may be on its way. Whatever else does not verify does not get better.
      const isFinal =
        error instanceof FormatError || (error instanceof TlogError && error.kind !== "missing");
      this.#change(isFinal ? { contradiction: messageOf(error) } : { failure: messageOf(error) });
    }
  }

  async #accept(note: string, publishedAt: number | undefined): Promise<void> {
    const { election, memory } = this.#options;
    const opened = await openWithKeys(election, note, this.#state.seen?.keys);
    const { checkpoint, cosignatures, keys } = opened;
    const reader = new TileReader({ fetch: sourceOf(election), ...checkpoint });
    if (!this.#state.seen) this.#change({ remembered: this.#recall(keys) });
    const before = this.#state.seen?.checkpoint ?? this.#state.remembered;
    if (before) await requireExtends(reader, before);
    if (!this.#state.seen) await requireManifest(reader, election);
    const last = decodeEntry(await reader.entry(checkpoint.size - 1));
    const seen: SeenCheckpoint = {
      ...{ ...opened, note, publishedAt },
      unknownSignatures:
        parseNote(note).signatures.filter(({ name }) => name !== election.key.name).length -
        cosignatures.length,
      closing: last.type === "closing" ? last : undefined,
    };
    this.#change({ seen, points: extended(this.#state.points, publishedAt, checkpoint.size) });
    remember(memory, election, note);
  }

  #recall(log: LogKeys): Checkpoint | undefined {
    const { election, memory } = this.#options;
    try {
      const note = memory.getItem(memoryName(election));
      return note === null ? undefined : openCheckpoint({ note, log }).checkpoint;
    } catch {
      // A browser that keeps nothing, or something that is not ours.
      return undefined;
    }
  }

  #change(change: Partial<LogState>): void {
    this.#state = { ...this.#state, ...change };
    if (!this.#options.signal.aborted) this.#options.onChange(this.#state);
  }
}

/** The manifest is not signed itself: that the signed log begins with it is what makes it the election's. */
async function requireManifest(reader: TileReader, { manifestHash }: Election): Promise<void> {
  const first = decodeEntry(await reader.entry(0));
  if (first.type === "manifest" && equalBytes(first.manifestHash, manifestHash)) return;
  throw unverified("the log begins with another manifest than the one served beside it");
}

async function fetchNote(election: Election): Promise<{ note: string; publishedAt: number | undefined }> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(addressOf(election, "checkpoint"), { cache: "no-store", signal });
  if (!response.ok) throw new Error(`checkpoint: HTTP status ${response.status}`);
  const bytes = await readAtMost(response.body, MAX_NOTE_SIZE);
  if (!bytes) throw new Error(`checkpoint: more than ${MAX_NOTE_SIZE} bytes`);
  return { note: decodeUtf8(bytes), publishedAt: modifiedAt(response.headers) };
}

/** By the server's clock alone, so that a visitor's clock that is wrong does not make the log look late. */
function modifiedAt(headers: Headers): number | undefined {
  const [modified, now] = ["last-modified", "date"].map((name) => Date.parse(headers.get(name) ?? ""));
  const age = Number(now) - Number(modified);
  return Number.isFinite(age) ? Date.now() - Math.max(0, age) : undefined;
}

/** What history.json has, or nothing: it is not signed, and nothing depends on it. */
async function readHistory(election: Election): Promise<Point[]> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(addressOf(election, "history.json"), { cache: "no-store", signal });
    if (!response.ok) return [];
    const { samples } = JSON.parse(
      decodeUtf8((await readAtMost(response.body, MAX_HISTORY_BYTES)) ?? new Uint8Array()),
    );
    return Array.isArray(samples) ? samples.filter(isPoint).slice(-MAX_POINTS) : [];
  } catch {
    return [];
  }
}

function isPoint(value: unknown): value is Point {
  return Array.isArray(value) && value.length === 2 && value.every((number) => Number.isSafeInteger(number));
}

function extended(points: readonly Point[], publishedAt: number | undefined, size: number): readonly Point[] {
  const [lastAt, lastSize] = points.at(-1) ?? [0, 0];
  const at = Math.floor((publishedAt ?? Date.now()) / 1000);
  return size > lastSize && at >= lastAt ? [...points, [at, size] as const].slice(-MAX_POINTS) : points;
}

/** How many entries came in the 60 seconds before `nowMs`. */
export function growthOf(points: readonly Point[], nowMs: number): number {
  const newest = points.at(-1);
  if (!newest) return 0;
  const from = nowMs / 1000 - 60;
  const before = points.findLast(([at]) => at <= from) ?? points[0];
  return newest[1] - (before?.[1] ?? newest[1]);
}

function remember(memory: FollowOptions["memory"], election: Election, note: string): void {
  try {
    memory.setItem(memoryName(election), note);
  } catch {
    // A browser that keeps nothing.
  }
}

/** By key: another log under the same name is not the one that was seen. */
function memoryName({ key }: Election): string {
  return `checkpoint of ${key}`;
}

import { ChainError } from "../ballot/chain.ts";
import { closingEntry } from "../ballot/entry.ts";
import { FormatError } from "../ballot/format-error.ts";
import type { VoteRecord } from "../ballot/record.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { Feed } from "../core/feed.ts";
import { type Sequence, type ShardId, shardId } from "../core/ids.ts";
import { parseEvent } from "../evidence/event.ts";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import type { SegmentEntry } from "../evidence/segment-line.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { AuditedElection, ElectionLog, LogStores } from "./election-log.ts";
import { EventQueue } from "./event-queue.ts";
import { sameHeads } from "./evidence-replay.ts";
import { ContestedError, HaltError, isFatal } from "./halt.ts";
import type { Lease, LogHead } from "./head.ts";
import { markComplete } from "./keep-tiles.ts";
import type { AuditMetrics } from "./metrics.ts";
import { openLog } from "./open-log.ts";
import { Publication, type Publisher } from "./publication.ts";
import { RecordBuffer } from "./record-buffer.ts";
import type { RecordMessage } from "./record-message.ts";
import { retry } from "./retry.ts";
import { confirmHead, reportForgery, type ShardRouter, ShardWatch } from "./shard-watch.ts";

export interface SealingLimits {
  /** A head at the latest this long after the first unsealed vote arrived. */
  readonly headIntervalMs: number;
  /** How often the shards themselves are looked at. */
  readonly pollIntervalMs: number;
  /** Records of one election held in memory. */
  readonly bufferRecords: number;
}

export interface ElectionSealerOptions {
  readonly election: AuditedElection;
  readonly stores: LogStores;
  readonly router: ShardRouter;
  readonly publisher: Publisher;
  /** Why nothing may be sealed now; undefined while it may. Without a feed it always may. */
  readonly objection?: Feed<string | undefined> | undefined;
  readonly limits: SealingLimits;
  readonly metrics: AuditMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export type SealingState = "standby" | "sealing" | "paused" | "complete" | "halted";

/** What the world may know of an election's log. */
export interface SealingStatus {
  readonly state: SealingState;
  readonly head: LogHead | undefined;
  /** Why it is halted. */
  readonly haltedBecause: string | undefined;
  /** Why it is paused. */
  readonly pausedBecause?: string | undefined;
}

/** How long a commit waits for records that a shard has and the stream is still to bring. */
const CONFIRM_MS = 200;
const CONFIRM_STEP_MS = 5;

/** Twice what a consumer may have unanswered. */
const MAX_UNSEALED_MESSAGES = 2_048;

interface UnsealedMessage {
  readonly message: RecordMessage;
  /** Where its runs end. */
  readonly ends: readonly { readonly shard: ShardId; readonly sequence: Sequence }[];
}

/** Turns one election's records into its log, from the first to the closing entry. */
export class ElectionSealer {
  readonly election: AuditedElection;
  readonly status: Feed<SealingStatus>;
  readonly #options: ElectionSealerOptions;
  readonly #logger: Logger;
  readonly #events = new EventQueue();
  #buffer: RecordBuffer | undefined;
  #log: ElectionLog | undefined;
  #unsealed: UnsealedMessage[] = [];
  /** When the oldest record or event that is ready arrived, in microseconds; undefined while none is. */
  #waitingSince: number | undefined;
  #spells = 0;
  /** The change of key that was put into the log, or waits to be. */
  #keyChange: string | undefined;
  #wake = () => {};
  #reporting: Promise<void> | undefined;

  constructor(options: ElectionSealerOptions) {
    this.#options = options;
    this.election = options.election;
    this.#logger = options.logger.child({ election: options.election.electionId });
    this.status = new Feed<SealingStatus>({ state: "standby", head: undefined, haltedBecause: undefined });
  }

  /** How often this process has become the one that seals the log. Each time, no event waits. */
  get spells(): number {
    return this.#spells;
  }

  /** Seals until the log is complete, the signal aborts or the log halts, and then resolves. It never rejects. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    let contestedAt: number | undefined;
    while (!signal.aborted) {
      const lease = await this.#becomeActive();
      if (!lease) return;
      this.#spells++;
      const active = AbortSignal.any([signal, lease.lost]);
      try {
        await this.#seal(active);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ContestedError && error.treeSize !== contestedAt) {
          contestedAt = error.treeSize;
          this.#logger.warn({ reason: error.message }, "another process wrote to the log; opening it again");
        } else if (!lease.lost.aborted) {
          return this.#halt(error);
        } else {
          // The process that took over meets it as well, if it was not the loss of the lease that led to it.
          if (isFatal(error)) this.#logger.error({ error }, "sealing failed as the lease was lost");
          this.#logger.warn({}, "lost the lease of the log; standing by");
        }
      } finally {
        this.#buffer = undefined;
        this.#log = undefined;
        this.#waitingSince = undefined;
        await lease[Symbol.asyncDispose]();
      }
      this.#publishStatus("standby");
      // Some of them may be in the log, if the swap was done and its answer lost; the others would be old news by then.
      this.#events.forget();
      this.#keyChange = undefined;
    }
  }

  /**
   * Takes in the runs of a stream message. The message is acknowledged when all of them are sealed; until then the
   * stream may deliver it again, which does no harm. Throws a ChainError when the runs do not verify against what the
   * shards have confirmed: whoever sent them is not ShardRouter, or the message was damaged.
   */
  receive(runs: readonly (readonly VoteRecord[])[], message: RecordMessage): void {
    const { state } = this.status.current;
    // Whatever becomes of a log that is complete or halted, its records are in their shards.
    if (state === "complete" || state === "halted") {
      message.ack();
      return;
    }
    const buffer = this.#buffer;
    if (!buffer) {
      message.nak(this.#options.limits.pollIntervalMs);
      return;
    }
    let later = false;
    for (const run of runs) {
      const offer = buffer.offer(run);
      if (offer === "contradicted") reportForgery(run[0]?.shard, this.#logger);
      // Full: the shard has it. Held here, it would keep memory that the buffer's limit does not count. Disputed: by the
      // time it comes again the shard has been asked, and what is forged is parked or forgotten.
      if (offer === "full" || offer === "disputed") later = true;
    }
    if (later) {
      message.nak(this.#options.limits.pollIntervalMs);
      return;
    }
    const ends = runs.flatMap((run) => run.at(-1) ?? []);
    this.#unsealed.push({ message, ends });
    // One that is never sealed, because its records are nobody's, comes again and again. Forgetting it is harmless.
    if (this.#unsealed.length > MAX_UNSEALED_MESSAGES) this.#unsealed.shift();
    this.#acknowledge();
    this.#noteArrival();
  }

  /**
   * Has an event document appended with the next commit, within `headIntervalMs`. False when it was not taken, because
   * this process does not seal the log now, or too many of another kind wait. Until its commit it is in memory alone: what
   * waits when the process dies, loses the lease, or the log is closed, is lost unless whoever found it says it again. Throws a FormatError when it is
   * not an event of this election.
   */
  appendEvent(note: string): boolean {
    const { electionId } = this.election;
    const { electionId: of, kind } = parseEvent(note);
    if (of !== electionId) throw new FormatError(`event: not of ${electionId}`);
    if (!isActive(this.status.current.state) || !this.#events.add({ kind, note })) return false;
    this.#noteArrival();
    return true;
  }

  /**
   * The Publisher asks with every head until the log has the change: this process puts it there once. A restart may do so
   * again, which changes nothing.
   */
  #changeKey(note: string): void {
    if (this.#keyChange === note) return;
    try {
      if (parseEvent(note).kind !== "key-change") throw new FormatError("event: not a change of key");
      if (this.appendEvent(note)) this.#keyChange = note;
    } catch (error) {
      // It is the Publisher's to sign; a log without it is complete as it is.
      this.#logger.error({ reason: messageOf(error) }, "the Publisher asks for a change of key that is none");
    }
  }

  async #becomeActive(): Promise<Lease | undefined> {
    const { stores, clock, limits, signal } = this.#options;
    try {
      while (true) {
        const lease = await this.#retry(
          "lock the log",
          () => stores.heads.tryLock(this.election.electionId),
          signal,
        );
        if (lease) return lease;
        await clock.sleep(limits.pollIntervalMs, signal);
        signal.throwIfAborted();
      }
    } catch (error) {
      if (!signal.aborted) this.#halt(error);
      return undefined;
    }
  }

  async #seal(signal: AbortSignal): Promise<void> {
    const { election, stores, publisher, clock, limits, router, metrics } = this.#options;
    const common = { election, clock, logger: this.#logger, signal };
    await this.#untilOpenable(signal);
    const log = await this.#retry("open the log", () => openLog({ ...common, stores }), signal);
    const heads = log.head.shardHeads.map((head, shard) => ({ ...head, shard: shardId(shard), castAt: 0 }));
    const buffer = new RecordBuffer({ heads, capacity: limits.bufferRecords });
    this.#log = log;
    this.#buffer = buffer;
    this.#publishStatus(this.#stateOf());
    this.#noteArrival(); // Of events, which may have come before.
    // A crash after the last swap left it unsaid.
    this.#reportSealed(log, signal);

    // The first of the three to fail stops the others. Once the closing entry is in, there is nothing left to watch.
    const failure = new AbortController();
    const sealed = new AbortController();
    const running = AbortSignal.any([signal, failure.signal]);
    const publication = new Publication({
      ...common,
      evidence: stores.evidence,
      publisher,
      head: log.head,
      onKeyChange: (note) => this.#changeKey(note),
      signal: running,
    });
    const watch = new ShardWatch({
      ...common,
      electionId: election.electionId,
      shards: election.manifest.shards,
      router,
      buffer,
      sealedHeads: () => log.head.shardHeads,
      onProgress: () => this.#noteArrival(),
      onFetched: (records) => metrics.fetchedRecords.inc(records),
      pollIntervalMs: limits.pollIntervalMs,
      signal: AbortSignal.any([running, sealed.signal]),
    });
    await allOrNone(failure, [
      this.#grow(log, buffer, watch, publication, running).finally(() => sealed.abort()),
      watch.run(),
      publication.run(),
    ]);
    await this.#reporting;
  }

  /** Commits until the closing entry is in. */
  async #grow(
    log: ElectionLog,
    buffer: RecordBuffer,
    watch: ShardWatch,
    publication: Publication,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#untilPermitted(signal);
    if (log.head.treeSize === 0) {
      const { manifestHash, electionId } = this.election;
      // A log without an entry has no tile that could be missing.
      const { tiles } = this.#options.stores;
      await this.#retry("mark the tiles complete", () => markComplete(tiles, electionId), signal);
      await this.#commit(log, publication, [{ type: "manifest", manifestHash }]);
    }
    while (!log.head.closed) {
      await this.#untilPermitted(signal);
      signal.throwIfAborted();
      const complete = isComplete(log, watch);
      if (complete && this.#events.size === 0) {
        await this.#commit(log, publication, [closingEntry(log.head.shardHeads)]);
      } else if (complete || this.#due(log, buffer)) {
        await this.#confirm(buffer, signal);
        await this.#commitWaiting(log, buffer, publication, signal);
      } else {
        await this.#sleepUntilDue(signal);
      }
    }
  }

  /** Opening a log adopts what a crash left behind, which is sealing, too. Of one that is closed there is nothing to seal. */
  async #untilOpenable(signal: AbortSignal): Promise<void> {
    const { objection, stores, election } = this.#options;
    if (objection?.current === undefined) return;
    const load = () => stores.heads.load(election.electionId);
    const head = await this.#retry("load the head", load, signal);
    if (head?.closed) return;
    // What it shows may be from before another process sealed.
    if (head) this.status.publish({ ...this.status.current, head });
    await this.#untilPermitted(signal);
  }

  /** Waits between two commits while something speaks against sealing. What arrives meanwhile is taken in as ever. */
  async #untilPermitted(signal: AbortSignal): Promise<void> {
    const { objection } = this.#options;
    if (objection?.current === undefined) return;
    for await (const reason of objection.watch(signal)) {
      this.#publishStatus(this.#stateOf());
      if (reason === undefined) return;
    }
    signal.throwIfAborted();
  }

  #stateOf(): SealingState {
    if (this.#log?.head.closed) return "complete";
    return this.#options.objection?.current === undefined ? "sealing" : "paused";
  }

  /** Events go first: there are few of them, and a block that is nearly full leaves records for the next. */
  #commitWaiting(
    log: ElectionLog,
    buffer: RecordBuffer,
    publication: Publication,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, limits } = this.#options;
    return this.#events.drain(log.room, async (events) => {
      const votes = buffer
        .take(log.room - events.length)
        .map((record): SegmentEntry => ({ type: "vote", record }));
      this.#waitingSince = this.#hasWaiting(buffer) ? clock.nowMicros() : undefined;
      const entries = [...events, ...votes];
      if (entries.length > 0) return this.#commit(log, publication, entries);
      // What there is was not confirmed: its shard is away, or it is not the shard's.
      await clock.sleep(limits.headIntervalMs, signal);
    });
  }

  #hasWaiting(buffer: RecordBuffer): boolean {
    return buffer.size > 0 || this.#events.size > 0;
  }

  /** A block's end is reached, or the oldest record or event has waited long enough. */
  #due(log: ElectionLog, buffer: RecordBuffer): boolean {
    if (!this.#hasWaiting(buffer)) return false;
    return buffer.size >= log.room || this.#waitMs() <= 0;
  }

  /** Has the shards confirm what the stream brought, and gives what is still on its way a moment to arrive. */
  async #confirm(buffer: RecordBuffer, signal: AbortSignal): Promise<void> {
    const { router, clock } = this.#options;
    const { shards } = this.election.manifest;
    const before = Array.from({ length: shards }, (_, shard) => buffer.tail(shardId(shard)));
    try {
      const { heads } = await router.heads({ electionId: this.election.electionId }, { signal });
      for (const head of heads) confirmHead(buffer, head, this.#logger, before[head.shard]);
      // Of shards that did not answer, what waits here is in their tables: it must not keep the others out.
      if (buffer.room < BLOCK_ENTRIES)
        buffer.forgetUnconfirmedExcept(new Set(heads.map(({ shard }) => shard)));
    } catch (error) {
      if (isFatal(error)) throw error;
      this.#logger.warn(
        { reason: messageOf(error) },
        "the shards cannot confirm their records; trying again",
      );
    }
    const deadline = clock.nowMicros() + CONFIRM_MS * 1000;
    while (buffer.behind && clock.nowMicros() < deadline) await clock.sleep(CONFIRM_STEP_MS, signal);
  }

  #waitMs(): number {
    const { clock, limits } = this.#options;
    if (this.#waitingSince === undefined) return limits.pollIntervalMs;
    return limits.headIntervalMs - (clock.nowMicros() - this.#waitingSince) / 1000;
  }

  async #sleepUntilDue(signal: AbortSignal): Promise<void> {
    const nap = new AbortController();
    this.#wake = () => nap.abort();
    await this.#options.clock.sleep(Math.max(1, this.#waitMs()), AbortSignal.any([signal, nap.signal]));
  }

  #noteArrival(): void {
    const [buffer, log] = [this.#buffer, this.#log];
    if (!buffer || !log) return;
    if (this.#hasWaiting(buffer) && this.#waitingSince === undefined) {
      this.#waitingSince = this.#options.clock.nowMicros();
      this.#wake();
    }
    if (buffer.size >= log.room) this.#wake();
  }

  /** A commit, and the two steps that follow it: the Publisher hears of the head, the stream and the router let go. */
  async #commit(log: ElectionLog, publication: Publication, entries: readonly SegmentEntry[]): Promise<void> {
    const { metrics } = this.#options;
    const started = performance.now();
    const { head } = await log.commit(entries);
    metrics.commitSeconds.observe((performance.now() - started) / 1000);
    metrics.sealedEntries.inc(entries.length);
    publication.announce(head);
    this.#publishStatus(this.#stateOf());
    this.#acknowledge();
    this.#reportSealed(log, this.#options.signal);
  }

  /** Lets go of the stream's messages whose records are all sealed. */
  #acknowledge(): void {
    const sealed = this.#log?.head.shardHeads;
    if (!sealed) return;
    this.#unsealed = this.#unsealed.filter(({ message, ends }) => {
      const waits = ends.some(({ shard, sequence }) => sequence > (sealed[shard]?.sequence ?? 0));
      if (!waits) message.ack();
      return waits;
    });
  }

  /** Tells the router how far the shards are sealed, one call at a time, always with the newest heads. */
  #reportSealed(log: ElectionLog, signal: AbortSignal): void {
    this.#reporting ??= this.#sendSealed(log, signal)
      .catch((error) => {
        // It spares the router work and shows voters that their vote is sealed; the log does not depend on it.
        if (!signal.aborted)
          this.#logger.error({ error }, "the router refused to hear how far the shards are sealed");
      })
      .finally(() => {
        this.#reporting = undefined;
      });
  }

  async #sendSealed(log: ElectionLog, signal: AbortSignal): Promise<void> {
    const { router } = this.#options;
    let sent: LogHead | undefined;
    while (sent !== log.head) {
      const { head } = log;
      const shards = head.shardHeads.map(({ sequence }, shard) => ({ shard, sequence: BigInt(sequence) }));
      const request = { electionId: head.electionId, shards };
      await this.#retry("report what is sealed", () => router.confirmSealed(request, { signal }), signal);
      sent = head;
    }
  }

  #halt(error: unknown): void {
    this.#logger.fatal({ error }, "sealing is halted: a human has to look before anything more is sealed");
    this.#options.metrics.halted.set({ election: this.election.electionId }, 1);
    const { head } = this.status.current;
    this.status.publish({ state: "halted", head, haltedBecause: haltReason(error) });
    for (const { message } of this.#unsealed.splice(0)) message.ack();
  }

  #publishStatus(state: SealingState): void {
    const head = this.#log?.head ?? this.status.current.head;
    const { objection, metrics } = this.#options;
    const { electionId: election } = this.election;
    const pausedBecause = state === "paused" ? objection?.current : undefined;
    this.status.publish({ state, head, haltedBecause: undefined, pausedBecause });
    metrics.paused.set({ election }, state === "paused" ? 1 : 0);
    if (head) metrics.treeSize.set({ election }, head.treeSize);
  }

  #retry<T>(step: string, attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return retry(step, attempt, { clock: this.#options.clock, logger: this.#logger, signal });
  }
}

/** Whether this process is the one that seals the log, or waits to. */
export function isActive(state: SealingState): boolean {
  return state === "sealing" || state === "paused";
}

/**
 * Every shard is final, and all of its records are sealed, the very ones it ends with. Whatever else the stream may have
 * brought is not a vote.
 */
function isComplete(log: ElectionLog, { finalHeads }: ShardWatch): boolean {
  if (!finalHeads) return false;
  if (sameHeads(finalHeads, log.head.shardHeads)) return true;
  const wrong = finalHeads.findIndex((final, shard) => {
    const sealed = log.head.shardHeads[shard];
    return sealed !== undefined && final.sequence === sealed.sequence && !sameHeads([final], [sealed]);
  });
  if (wrong >= 0)
    throw new HaltError(`shard ${wrong} was closed with another last record than the one sealed`);
  return false;
}

/** Waits for all tasks; the first to fail aborts `failure`, which the others heed, and its error is the one thrown. */
async function allOrNone(failure: AbortController, tasks: readonly Promise<void>[]): Promise<void> {
  await Promise.all(tasks.map((task) => task.catch((error) => failure.abort(error))));
  failure.signal.throwIfAborted();
}

/** Only errors written for operators are shown; the log has the rest. */
function haltReason(error: unknown): string {
  if (error instanceof HaltError || error instanceof ChainError) return error.message;
  return error instanceof Error
    ? `unexpected ${error.name}: see the log of audit-service`
    : "unexpected error";
}

import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { shardId } from "../core/ids.ts";
import { type JsonObject, parseEvent } from "../evidence/event.ts";
import { checkpointNumberOf } from "../evidence/layout.ts";
import type { Segment } from "../evidence/segment.ts";
import { byShard, compareShard } from "../reconcile/compare-shard.ts";
import { compareTail } from "../reconcile/compare-tail.ts";
import { type Difference, Differences, describeDifference } from "../reconcile/difference.ts";
import type { ReadChain } from "../reconcile/shard-rows.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { AuditedElection, LogStores } from "./election-log.ts";
import type { LogHead } from "./head.ts";
import type { AuditMetrics } from "./metrics.ts";
import { decodeRun } from "./record-message.ts";
import type { ShardRouter } from "./shard-watch.ts";
import { blockEnds, segmentsTo } from "./stored-segments.ts";

export interface ReconcileRoundsOptions {
  readonly election: AuditedElection;
  readonly stores: LogStores;
  readonly router: ShardRouter;
  /** What is committed; undefined while this process has nothing to do with the election. */
  readonly head: () => LogHead | undefined;
  /** Puts an event of kind `reconciliation` into the log; false when it was not taken. */
  readonly recordEvent: (details: JsonObject) => Promise<boolean>;
  /** How fast sealed records are compared with their rows, so that votes notice nothing of it. */
  readonly recordsPerSecond: number;
  /** Between two rounds, and after a failure. */
  readonly pauseMs: number;
  readonly metrics: AuditMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** How often a process that has nothing to compare yet looks whether it has. */
const LOOK_MS = 1_000;

/**
 * What one event names: it is at most 16 KiB. A difference is 100 bytes; a rule that a superuser added is up to 500, when
 * each character of its name is escaped.
 */
const NAMED = 100;
const NAMED_GUARDS = 10;

/** A constraint or trigger of an instance that is not as the migrations made it. */
interface BrokenGuard {
  readonly instance: string;
  readonly guard: string;
}

/**
 * Compares an election's databases with its evidence, slowly, from the beginning to the end and again, until the signal
 * aborts; it never rejects. What is found, and which of the databases' rules ShardRouter found broken, is counted and
 * logged at once, and at the end of the round put into the log, once: a round has read the events that are there already,
 * whoever put them.
 */
export async function reconcileRounds(options: ReconcileRoundsOptions): Promise<void> {
  const { clock, signal, logger, pauseMs } = options;
  const rounds = new ReconcileRounds(options);
  while (!signal.aborted) {
    const head = options.head();
    if (!head || head.treeSize === 0) {
      await clock.sleep(Math.min(pauseMs, LOOK_MS), signal);
      continue;
    }
    try {
      await rounds.run(head);
    } catch (error) {
      // Databases or the store are away, or changed meanwhile. A round that did not end says nothing.
      if (!signal.aborted) logger.warn({ reason: messageOf(error) }, "a reconciliation was not finished");
    }
    await clock.sleep(pauseMs, signal);
  }
}

class ReconcileRounds {
  readonly #options: ReconcileRoundsOptions;
  readonly #readChain: ReadChain;
  /** What was logged, and what is in the log, by name. */
  readonly #logged = new Set<string>();
  readonly #recorded = new Set<string>();

  constructor(options: ReconcileRoundsOptions) {
    this.#options = options;
    const { router, election, signal } = options;
    this.#readChain = async function* (shard, first, limit) {
      const { electionId } = election;
      const request = { electionId, shard, firstSequence: BigInt(first), limit: BigInt(limit) };
      for await (const { run } of router.readChain(request, { signal })) if (run) yield decodeRun(run);
    };
  }

  async run(head: LogHead): Promise<void> {
    const { election, stores, metrics, clock, signal, recordsPerSecond } = this.#options;
    const { electionId } = election;
    const differences = new Differences();
    for (const end of await blockEnds(stores.evidence, electionId, 1, head)) {
      for (const { segment } of await segmentsTo(stores.evidence, electionId, end)) {
        signal.throwIfAborted();
        const records = await this.#compare(segment, differences);
        metrics.reconciledRecords.inc(records);
        await clock.sleep((records / recordsPerSecond) * 1000, signal);
      }
    }
    await this.#compareTails(differences);
    const guards = await this.#brokenGuards();
    signal.throwIfAborted();
    metrics.differences.set({ election: electionId }, differences.list.length + differences.more);
    metrics.lastReconciliation.set({ election: electionId }, clock.nowMicros() / 1e6);
    await this.#record(differences, guards);
  }

  async #compare(segment: Segment, differences: Differences): Promise<number> {
    const { firstIndex, entries } = segment;
    const sealed = entries.flatMap((entry, offset) =>
      entry.type === "vote" ? [{ index: firstIndex + offset, record: entry.record }] : [],
    );
    for (const entry of entries) if (entry.type === "event") this.#remember(entry.note);
    const before = differences.list.length;
    for (const records of byShard(sealed).values()) {
      await compareShard(this.#readChain, checkpointNumberOf(firstIndex), records, differences);
    }
    for (const found of differences.list.slice(before)) this.#log(found);
    return sealed.length;
  }

  /**
   * The rows that are not sealed yet: a row beside the chain keeps a voter from voting, and a changed head breaks the chain
   * with the next vote. The one-vote rule is not looked at here: that takes every voter's votes in memory.
   */
  async #compareTails(differences: Differences): Promise<void> {
    const { election, head, clock, signal, recordsPerSecond } = this.#options;
    const readChain = this.#readChain;
    // While sealing is paused there may be many. The next page is read when this one was taken.
    const slowly: ReadChain = async function* (shard, first, limit) {
      for await (const records of readChain(shard, first, limit)) {
        yield records;
        await clock.sleep((records.length / recordsPerSecond) * 1000, signal);
      }
    };
    // The newest: votes went on while the sealed ones were compared.
    const { shardHeads = [], closed = false } = head() ?? {};
    const before = differences.list.length;
    for (const [shard, sealed] of shardHeads.entries()) {
      await compareTail({
        readChain: slowly,
        head: { ...sealed, shard: shardId(shard), castAt: 0 },
        shards: election.manifest.shards,
        closed,
        voterProblem: () => undefined,
        differences,
      });
    }
    for (const found of differences.list.slice(before)) this.#log(found);
  }

  /** Asked last, so that a long round says what is so at its end. An instance that nobody has looked at is not counted. */
  async #brokenGuards(): Promise<BrokenGuard[]> {
    const { router, election, metrics, logger, signal } = this.#options;
    const { electionId } = election;
    const { guards } = await router.heads({ electionId }, { signal });
    for (const { instance, broken } of guards) {
      metrics.brokenGuards.set({ election: electionId, instance }, broken.length);
    }
    const found = guards.flatMap(({ instance, broken }) => broken.map((guard) => ({ instance, guard })));
    for (const one of found) {
      const name = guardName(one);
      if (this.#logged.has(name)) continue;
      this.#logged.add(name);
      metrics.foundDifferences.inc({ kind: "guard" });
      logger.error({ instance: one.instance }, `${one.guard} is not as the migrations made it`);
    }
    return found;
  }

  #log(found: Difference): void {
    const { logger, metrics } = this.#options;
    const name = nameOf(found);
    if (this.#logged.has(name)) return;
    this.#logged.add(name);
    metrics.foundDifferences.inc({ kind: found.kind });
    logger.error(
      { shard: found.shard, sequence: found.sequence },
      `the database is not as it was sealed: ${describeDifference(found)}`,
    );
  }

  async #record({ list }: Differences, broken: readonly BrokenGuard[]): Promise<void> {
    const news = list.filter((found) => !this.#recorded.has(nameOf(found)));
    const guards = broken.filter((one) => !this.#recorded.has(guardName(one)));
    if (news.length + guards.length === 0) return;
    const differences = news.slice(0, NAMED).map(jsonOf);
    const named = guards.slice(0, NAMED_GUARDS).map(({ instance, guard }) => ({ instance, guard }));
    const more = news.length + guards.length - differences.length - named.length;
    const details = { differences, broken_guards: named, more };
    // Not taken: the log is closed or halted, or the next round says it again.
    if (!(await this.#options.recordEvent(details))) return;
    for (const found of news) this.#recorded.add(nameOf(found));
    for (const one of guards) this.#recorded.add(guardName(one));
  }

  /** What an event in the log says was found, by us or by a process before us. */
  #remember(note: string): void {
    const { kind, details } = parseEvent(note);
    if (kind !== "reconciliation") return;
    const { differences, broken_guards: guards } = details;
    if (Array.isArray(differences)) for (const found of differences) this.#recorded.add(nameOf(found));
    if (Array.isArray(guards)) for (const one of guards) this.#recorded.add(guardName(one));
  }
}

function jsonOf({ kind, shard, sequence, lastSequence, checkpoint }: Difference) {
  return {
    kind,
    shard,
    sequence,
    last_sequence: lastSequence ?? sequence,
    ...(checkpoint === undefined ? {} : { checkpoint }),
  };
}

/** Equal for a difference and for what an event says of it. */
function nameOf({
  kind,
  shard,
  sequence,
}: {
  readonly kind: unknown;
  readonly shard: unknown;
  readonly sequence: unknown;
}): string {
  return `${kind} ${shard} ${sequence}`;
}

/** No difference is of this kind, and an instance's name has no space. */
function guardName({ instance, guard }: { readonly instance: unknown; readonly guard: unknown }): string {
  return `guard ${instance} ${guard}`;
}

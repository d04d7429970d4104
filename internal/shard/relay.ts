// From the commit to the audit stream.
import type { Manifest } from "../ballot/manifest.ts";
import type { Clock } from "../core/clock.ts";
import { type Sequence, sequence } from "../core/ids.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Availability } from "./availability.ts";
import { keyOf, type Run } from "./decide.ts";
import type { ShardMetrics } from "./metrics.ts";
import type { RecordPublisher, ShardInstance, ShardKey } from "./ports.ts";
import { firstSequence, MAX_BATCH_RECORDS, nextBatch } from "./record-batch.ts";

export interface RelayOptions {
  readonly instance: Pick<ShardInstance, "name" | "settle" | "readRecords" | "readUnsealedHeads">;
  readonly availability: Availability;
  /** The manifest of an election by its number. */
  readonly manifestOf: (election: number) => Promise<Manifest>;
  readonly publisher: RecordPublisher;
  /** How many records may wait in memory. What is over is read from the instance when its turn comes. */
  readonly queuedRecords: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ShardMetrics;
}

/** A shard whose records are to be read from the instance and published, from `from` to its end. */
interface Behind extends ShardKey {
  readonly manifest: Manifest;
  from: Sequence;
  /** Whether records were committed since the last page was read. */
  news: boolean;
  /** Whether there is an append that may still commit, of which nobody will hear. */
  unsettled: boolean;
}

const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 2_000;

/**
 * Publishes one instance's records after their commit.
 *
 * Each is published at least once, or is sealed already: what this process still had to publish when it ended is
 * everything after the sealed sequences, and the next one starts with that. So nothing need be written down, and the
 * stream may be away for any time: then all that is kept is, for each shard, from which sequence on to read again.
 */
export class Relay implements AsyncDisposable {
  readonly #options: RelayOptions;
  readonly #queue: Run[] = [];
  #queuedRecords = 0;
  readonly #behind = new Map<string, Behind>();
  #recovered = false;
  readonly #stopping = new AbortController();
  #news = Promise.withResolvers<void>();
  #ended: Promise<void> = Promise.resolve();

  constructor(options: RelayOptions) {
    this.#options = options;
    const { metrics, instance } = options;
    metrics.watch("unpublished", instance.name, () => this.#queuedRecords);
    metrics.watch("behind", instance.name, () => this.#behind.size);
  }

  start(): void {
    this.#ended = this.#run();
  }

  /** Takes what was committed. Never waits. */
  offer(runs: readonly Run[]): void {
    for (const run of runs) {
      const behind = this.#behind.get(keyOf(run));
      if (behind !== undefined) behind.news = true;
      else if (this.#queuedRecords + run.records.length > this.#options.queuedRecords) {
        this.#fallBehind(run, run.manifest, sequence(firstSequence(run)));
      } else {
        this.#queue.push(run);
        this.#queuedRecords += run.records.length;
      }
    }
    this.#wake();
  }

  /** Takes note of records that were to be committed when their connection was lost. */
  missed(run: Run): void {
    this.#fallBehind(run, run.manifest, sequence(firstSequence(run))).unsettled = true;
    this.#wake();
  }

  /** A shard is in the evidence store up to `sealed`, so nobody needs that from the stream. */
  sealed(key: ShardKey, sealed: Sequence): void {
    const behind = this.#behind.get(keyOf(key));
    if (behind !== undefined && behind.from <= sealed) behind.from = sequence(sealed + 1);
  }

  /** Publishes what waits in memory, unless that fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let delay = FIRST_DELAY_MS;
    while (!signal.aborted) {
      try {
        if (!this.#recovered) await this.#recover();
        await this.#publishQueued();
        await this.#catchUp();
        await this.#work(signal);
        delay = FIRST_DELAY_MS;
      } catch (error) {
        this.#dropQueue();
        this.#failed(error, delay);
        await this.#options.clock.sleep(delay * (0.5 + Math.random() / 2), signal);
        delay = Math.min(2 * delay, LONGEST_DELAY_MS);
      }
    }
    await this.#flush();
  }

  /** Resolves when there is something to do, or to stop. */
  async #work(signal: AbortSignal): Promise<void> {
    while (this.#queue.length === 0 && this.#behind.size === 0 && !signal.aborted) {
      this.#news = Promise.withResolvers();
      await this.#news.promise;
    }
  }

  async #flush(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#publishQueued();
    } catch (error) {
      this.#failed(error, FIRST_DELAY_MS);
    }
  }

  /** What earlier processes may have left unpublished. */
  async #recover(): Promise<void> {
    const { instance, availability, manifestOf } = this.#options;
    for (const head of await availability.run(() => instance.readUnsealedHeads())) {
      const manifest = await manifestOf(head.election);
      this.#fallBehind(head, manifest, sequence(head.sealedSequence + 1));
    }
    this.#recovered = true;
  }

  async #publishQueued(): Promise<void> {
    const { instance, publisher, metrics } = this.#options;
    const batch = nextBatch(this.#queue);
    if (batch === undefined) return;
    await publisher.publish(batch.electionId, batch.body);
    this.#queue.splice(0, batch.runs);
    this.#queuedRecords -= batch.records;
    metrics.published(instance.name, batch.records);
  }

  /** Publishes one page of one shard that is behind; the others have their turns. */
  async #catchUp(): Promise<void> {
    const { instance, availability, publisher, metrics } = this.#options;
    const [next] = this.#behind;
    if (next === undefined) return;
    const [key, behind] = next;
    await this.#settle(behind);
    behind.news = false;
    const last = sequence(behind.from + MAX_BATCH_RECORDS - 1);
    const records = await availability.run(() => instance.readRecords(behind, behind.from, last));
    const batch = records.length > 0 ? nextBatch([{ ...behind, records }]) : undefined;
    if (batch !== undefined) await publisher.publish(batch.electionId, batch.body);
    metrics.published(instance.name, records.length);

    // While this waited, a confirmation may have moved it further.
    const end = records.at(-1)?.sequence ?? 0;
    if (behind.from <= end) behind.from = sequence(end + 1);
    this.#behind.delete(key);
    const more = records.length === MAX_BATCH_RECORDS || behind.news || behind.unsettled;
    if (more) this.#behind.set(key, behind);
  }

  /** Waits for an append that may still commit: it could do so just after the page was read. */
  async #settle(behind: Behind): Promise<void> {
    const { instance, availability } = this.#options;
    if (!behind.unsettled) return;
    behind.unsettled = false; // Meanwhile there may be another.
    try {
      await availability.run(() => instance.settle(behind));
    } catch (error) {
      behind.unsettled = true;
      throw error;
    }
  }

  /** Forgets what waits in memory but for where to read it again. */
  #dropQueue(): void {
    for (const run of this.#queue.splice(0)) {
      this.#fallBehind(run, run.manifest, sequence(firstSequence(run)));
    }
    this.#queuedRecords = 0;
  }

  #fallBehind({ election, shard }: ShardKey, manifest: Manifest, from: Sequence): Behind {
    const key = keyOf({ election, shard });
    const behind = this.#behind.get(key) ?? { election, shard, manifest, from, news: true, unsettled: false };
    behind.news = true;
    if (from < behind.from) behind.from = from;
    this.#behind.set(key, behind);
    return behind;
  }

  #failed(error: unknown, delay: number): void {
    const { instance, logger, metrics } = this.#options;
    metrics.publishFailed(instance.name);
    // The first of a row, and then one a few seconds: an outage may last.
    if (delay !== FIRST_DELAY_MS && delay !== LONGEST_DELAY_MS) return;
    logger.warn(
      { error, instance: instance.name, shards_behind: this.#behind.size },
      "records cannot be published; they will be read again",
    );
  }

  #wake(): void {
    this.#news.resolve();
  }
}

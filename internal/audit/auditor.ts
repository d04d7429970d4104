import { ChainError } from "../ballot/chain.ts";
import { FormatError } from "../ballot/format-error.ts";
import { parseManifest } from "../ballot/manifest.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf, ServiceError } from "../core/errors.ts";
import { Feed } from "../core/feed.ts";
import { type ElectionId, electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { LogEvent } from "../evidence/event.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { LogStores } from "./election-log.ts";
import { ElectionSealer, isActive, type SealingLimits } from "./election-sealer.ts";
import type { EventKey } from "./event-key.ts";
import { keepTiles } from "./keep-tiles.ts";
import type { AuditMetrics } from "./metrics.ts";
import type { ProbeWatch } from "./probe-watch.ts";
import type { Publisher } from "./publication.ts";
import { type ReconcileRoundsOptions, reconcileRounds } from "./reconcile-rounds.ts";
import { decodeRecordMessage, type RecordMessage, type RecordRuns } from "./record-message.ts";
import type { ShardRouter } from "./shard-watch.ts";

/** The audit stream. internal/stream fits it. */
export interface RecordSource<Message extends RecordMessage> {
  /** Hands each message to `handler` until the signal aborts, through any outage of the stream. */
  consume(durable: string, handler: (message: Message) => Promise<void>, signal: AbortSignal): Promise<void>;
  /** Sets a message aside for a human, with the reason. */
  park(message: Message, reason: string): Promise<void>;
}

export interface AuditorOptions<Message extends RecordMessage> {
  readonly source: RecordSource<Message>;
  readonly stores: LogStores;
  readonly router: ShardRouter;
  readonly publisher: Publisher;
  /** Signs events; without it there are none. */
  readonly eventKey?: EventKey | undefined;
  /** Of the evidence store. Without it, sealing asks nobody. */
  readonly probe?: ProbeWatch | undefined;
  readonly limits: SealingLimits;
  /** How the databases are compared with the evidence all the time; not at all unless given. */
  readonly reconciliation?: Pick<ReconcileRoundsOptions, "recordsPerSecond" | "pauseMs"> | undefined;
  readonly metrics: AuditMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Seals every election there is: finds them, and hands each message of the stream to its election's sealer. */
export class Auditor<Message extends RecordMessage = RecordMessage> implements AsyncDisposable {
  readonly #options: AuditorOptions<Message>;
  readonly #stop = new AbortController();
  readonly #sealers = new Map<ElectionId, ElectionSealer>();
  /** The elections that are sealed here. */
  readonly #sealing = new Set<ElectionId>();
  /** Whether there are any. */
  readonly #active = new Feed(false);
  readonly #running = new Set<Promise<void>>();

  constructor(options: AuditorOptions<Message>) {
    this.#options = options;
  }

  /** Starts in the background; dispose stops it. `fail` hears of what no part of it expected. */
  start(fail: (error: unknown) => void): void {
    this.#run(this.#discover(), fail);
    this.#run(this.#consume(), fail);
    const { probe } = this.#options;
    if (probe) this.#run(probe.run(this.#stop.signal), fail);
  }

  /** The sealer of an election; asks ShardRouter for one not seen before. Undefined when there is no such election. */
  async sealerOf(id: ElectionId): Promise<ElectionSealer | undefined> {
    const known = this.#sealers.get(id);
    if (known) return known;
    try {
      const { election } = await this.#options.router.getElection(
        { electionId: id },
        { signal: this.#stop.signal },
      );
      return election && this.#seal(election.manifest);
    } catch (error) {
      if (error instanceof ServiceError && error.kind === "not-found") return undefined;
      throw error;
    }
  }

  /**
   * Puts an event, as of now, into an election's log with its next commit. False when it was not taken: then, and after
   * a restart, say it again if it still holds (`ElectionSealer.appendEvent`).
   */
  async recordEvent({ electionId: id, ...event }: Omit<LogEvent, "at">): Promise<boolean> {
    const { eventKey, clock } = this.#options;
    const sealer = eventKey && (await this.sealerOf(id));
    if (!sealer) return false;
    return sealer.appendEvent(eventKey.sign(sealer.election.manifest, { ...event, at: clock.nowMicros() }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running);
  }

  /** New elections get their first log entry, the manifest, whether or not anyone has voted. */
  async #discover(): Promise<void> {
    const { router, clock, limits, logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const { elections } = await router.listElections({}, { signal });
        for (const { electionId: id, manifest } of elections) {
          if (!this.#sealers.has(electionId(id))) this.#seal(manifest);
        }
      } catch (error) {
        if (!signal.aborted)
          logger.warn({ reason: messageOf(error) }, "elections cannot be listed; trying again");
      }
      await clock.sleep(limits.pollIntervalMs, signal);
    }
  }

  #seal(manifestBytes: Uint8Array): ElectionSealer {
    const manifest = parseManifest(manifestBytes);
    const known = this.#sealers.get(manifest.electionId);
    if (known) return known;
    const election = {
      electionId: manifest.electionId,
      manifest,
      manifestBytes,
      manifestHash: sha256(manifestBytes),
    };
    const { stores, clock, logger, eventKey, probe } = this.#options;
    const { signal } = this.#stop;
    if (eventKey) {
      const fields = { election: manifest.electionId, event_key: eventKey.verifierKey(manifest) };
      logger.info(fields, "the election's events are signed with this key");
    }
    const sealer = new ElectionSealer({ ...this.#options, objection: probe?.objection, election, signal });
    this.#sealers.set(manifest.electionId, sealer);
    this.#run(sealer.run(), () => {});
    this.#run(this.#follow(sealer), () => {});
    if (probe && eventKey) this.#run(this.#tellOfProbes(sealer, probe), () => {});
    const ownLogger = logger.child({ election: manifest.electionId });
    this.#run(keepTiles({ stores, clock, election, logger: ownLogger, signal }), () => {});
    const { reconciliation } = this.#options;
    if (reconciliation) {
      const { electionId } = election;
      const rounds = reconcileRounds({
        ...this.#options,
        ...reconciliation,
        election,
        head: () => (sealer.status.current.state === "standby" ? undefined : sealer.status.current.head),
        recordEvent: (details) => this.recordEvent({ electionId, kind: "reconciliation", details }),
        logger: ownLogger,
        signal,
      });
      this.#run(rounds, () => {});
    }
    return sealer;
  }

  /** Keeps account of whether an election is sealed here. */
  async #follow({ election: { electionId }, status }: ElectionSealer): Promise<void> {
    for await (const { state } of status.watch(this.#stop.signal)) {
      if (isActive(state)) this.#sealing.add(electionId);
      else this.#sealing.delete(electionId);
      const active = this.#sealing.size > 0;
      if (active !== this.#active.current) this.#active.publish(active);
    }
  }

  /**
   * Puts what the probe finds into the election's log while it is sealed here: the newest whenever that begins, because
   * what waited before is forgotten, and then whatever is new.
   */
  async #tellOfProbes(sealer: ElectionSealer, { news }: ProbeWatch): Promise<void> {
    const { signal } = this.#stop;
    const { electionId } = sealer.election;
    const logger = this.#options.logger.child({ election: electionId });
    let told: { readonly details: unknown; readonly spell: number } | undefined;
    const tell = async () => {
      const [details, spell] = [news.current, sealer.spells];
      if (details === undefined || !isActive(sealer.status.current.state)) return;
      if (told?.details === details && told.spell === spell) return;
      told = { details, spell };
      try {
        const taken = await this.recordEvent({ electionId, kind: "worm-probe", details });
        if (!taken) logger.warn({}, "the log has no room for what a probe found");
      } catch (error) {
        // Of one probe: the next is told again.
        logger.error({ error }, "what a probe found cannot be put into the log");
      }
    };
    const tellWhenever = async (changes: AsyncIterable<unknown>) => {
      for await (const _ of changes) await tell();
    };
    await Promise.all([tellWhenever(news.watch(signal)), tellWhenever(sealer.status.watch(signal))]);
  }

  /**
   * Consumes the stream while an election is sealed here. Each message goes to one of the processes that consume it:
   * one that comes to a standby has to be given back, and is late.
   */
  async #consume(): Promise<void> {
    const { signal } = this.#stop;
    while (await this.#becomes(true)) {
      const idle = new AbortController();
      const consuming = this.#options.source.consume(
        "audit-service",
        (message) => this.#receive(message),
        AbortSignal.any([signal, idle.signal]),
      );
      await Promise.race([consuming, this.#becomes(false)]);
      idle.abort();
      await consuming;
    }
  }

  /** Resolves when an election is sealed here, or none: to true; or to false when this stops. */
  async #becomes(active: boolean): Promise<boolean> {
    for await (const current of this.#active.watch(this.#stop.signal)) if (current === active) return true;
    return false;
  }

  /**
   * A message that is malformed, or whose records do not verify, is parked and reported. It costs nothing but the time
   * until the shard is asked: its records, if they exist, are there.
   */
  async #receive(message: Message): Promise<void> {
    const { logger, limits } = this.#options;
    let received: RecordRuns;
    try {
      received = decodeRecordMessage(message.data);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      return this.#park(message, error);
    }
    try {
      const sealer = await this.sealerOf(received.electionId);
      if (!sealer) return await this.#park(message, new FormatError("record message: no such election"));
      sealer.receive(received.runs, message);
    } catch (error) {
      if (error instanceof ChainError) return this.#park(message, error);
      logger.warn({ error }, "a message cannot be handled now and will be delivered again");
      message.nak(limits.pollIntervalMs);
    }
  }

  async #park(message: Message, reason: ChainError | FormatError): Promise<void> {
    const { source, metrics, logger } = this.#options;
    metrics.parkedMessages.inc();
    logger.error({ reason: reason.message }, "parked a stream message that does not verify");
    await source.park(message, reason.message);
  }

  #run(task: Promise<void>, fail: (error: unknown) => void): void {
    const tracked = task.catch((error) => {
      if (!this.#stop.signal.aborted) fail(error);
    });
    this.#running.add(tracked);
    tracked.finally(() => this.#running.delete(tracked));
  }
}

import type { Manifest } from "../ballot/manifest.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Availability } from "./availability.ts";
import { GroupCommitter } from "./group-commit.ts";
import type { ShardMetrics } from "./metrics.ts";
import type { NumberedElection, RecordPublisher, ShardInstance } from "./ports.ts";
import { Relay } from "./relay.ts";

export interface InstanceOptions {
  readonly database: ShardInstance;
  /** Makes the database ready: its schema. It is asked after each outage, too. */
  readonly prepare: () => Promise<void>;
  readonly manifestOf: (election: number) => Promise<Manifest>;
  /** Told of an election whose number the instance knows as another one's, or as nobody's. */
  readonly onStray: (election: NumberedElection) => void;
  readonly publisher: RecordPublisher;
  readonly limits: {
    readonly groupVotes: number;
    readonly waitingVotes: number;
    readonly queuedRecords: number;
  };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ShardMetrics;
}

/** A database instance with all that works for it. Instances share nothing: one that is down stops no other. */
export class Instance implements AsyncDisposable {
  readonly name: string;
  readonly availability: Availability;
  readonly committer: GroupCommitter;
  readonly relay: Relay;
  readonly #database: ShardInstance;

  constructor(options: InstanceOptions) {
    const { database, prepare, limits, clock, logger, metrics } = options;
    this.name = database.name;
    this.#database = database;
    const probe = async () => {
      await prepare();
      await database.ping();
    };
    this.availability = new Availability({ name: this.name, probe, clock, logger });
    const shared = { instance: database, availability: this.availability, clock, logger, metrics };
    const { manifestOf, onStray, publisher } = options;
    this.relay = new Relay({ ...shared, manifestOf, publisher, queuedRecords: limits.queuedRecords });
    this.committer = new GroupCommitter({ ...shared, relay: this.relay, onStray, limits });
    metrics.watch("up", this.name, () => (this.availability.up ? 1 : 0));
  }

  /** Resolves when the instance was asked once whether it is there. Rejects when it is there and cannot be used. */
  async start(): Promise<void> {
    await this.availability.start();
    this.relay.start();
  }

  /** Does `work` on the database, at once or not at all: Availability. */
  run<T>(work: (database: ShardInstance) => Promise<T>): Promise<T> {
    return this.availability.run(() => work(this.#database));
  }

  /** Answers and publishes what was taken. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.committer[Symbol.asyncDispose]();
    await this.relay[Symbol.asyncDispose]();
    await this.availability[Symbol.asyncDispose]();
  }
}

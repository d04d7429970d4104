import type { Clock } from "../core/clock.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import type { Logger } from "../telemetry/logger.ts";
import { CosignedCheckpoint, type WitnessLimits } from "./cosigned-checkpoint.ts";
import { DurableFiles, type FileSystem } from "./durable-files.ts";
import { ElectionIndex } from "./election-index.ts";
import type { TileSource } from "./extend-log.ts";
import type { FileVersion } from "./hot-files.ts";
import type { LogStatements } from "./log-description.ts";
import { LogFront } from "./log-front.ts";
import { LogPublisher, type OfferedHead } from "./log-publisher.ts";
import { LogSigners } from "./log-signers.ts";
import type { PublisherMetrics } from "./metrics.ts";
import { installPage } from "./page-files.ts";
import { CHECKPOINT, PublicLog } from "./public-log.ts";
import type { SignedHead } from "./signed-head.ts";
import { SignerState } from "./signer-state.ts";
import type { SigningKey } from "./signing-key.ts";
import type { Witnessing } from "./witnessing.ts";

export interface PublisherOptions {
  readonly key: SigningKey;
  /** What is to follow it. */
  readonly nextKey?: SigningKey | undefined;
  /** A log's origin is `<log prefix>/<election id>`. */
  readonly logPrefix: string;
  /** AuditService's tile store. */
  readonly source: TileSource;
  /** The signer's memory. Never shared, never restored from a backup. */
  readonly stateDirectory: string;
  /** What is served. */
  readonly publicDirectory: string;
  /** A built page for people, which is put there, too. */
  readonly pageDirectory?: string | undefined;
  /** Who cosigns checkpoints; without it they are shown as they are signed. */
  readonly witnessing?: Witnessing | undefined;
  readonly logger: Logger;
  readonly metrics: PublisherMetrics;
  readonly statements: LogStatements;
  readonly clock: Clock;
  /** For tests. */
  readonly fs?: FileSystem;
  readonly witnessLimits?: Partial<WitnessLimits> | undefined;
}

/** All logs of a deployment. */
export class Publisher implements AsyncDisposable {
  readonly #options: PublisherOptions;
  readonly #state: SignerState;
  readonly #publicFiles: DurableFiles;
  readonly #index: ElectionIndex;
  readonly #logs = new Map<ElectionId, LogPublisher>();
  /** What is on its way to witnesses. */
  readonly #cosigned = new AsyncDisposableStack();
  /** The directories, once it is open. */
  #resources = new DisposableStack();

  private constructor(options: PublisherOptions, state: SignerState, publicFiles: DurableFiles) {
    this.#options = options;
    this.#state = state;
    this.#publicFiles = publicFiles;
    this.#index = new ElectionIndex({ files: publicFiles });
  }

  /**
   * Takes both directories for itself and loads every log. One whose files contradict each other is reported and
   * refuses to be signed; it does not stop the others. Throws a DirectoryLockedError when another process has them.
   */
  static async open(options: PublisherOptions): Promise<Publisher> {
    const fs = options.fs && { fs: options.fs };
    using resources = new DisposableStack();
    const stateFiles = resources.use(await DurableFiles.open({ root: options.stateDirectory, ...fs }));
    const publicFiles = resources.use(await DurableFiles.open({ root: options.publicDirectory, ...fs }));
    if (options.pageDirectory !== undefined) await installPage(publicFiles, options.pageDirectory);
    const state = new SignerState({ files: stateFiles });
    const publisher = new Publisher(options, state, publicFiles);
    // A log that is public although its state is gone is loaded too, to be reported now and not at its next head.
    const elections = new Set([...(await state.elections()), ...(await publisher.elections())]);
    for (const election of elections) {
      const loaded = publisher.#log(election).load();
      await loaded.catch(() => {}); // It has been logged.
    }
    // Also of no election; and without those that were taken away.
    await publisher.#index.write();
    publisher.#resources = resources.move();
    return publisher;
  }

  /** Answers the signed note of a head, which is public then, or with its witnesses. */
  submit(election: ElectionId, head: OfferedHead): Promise<string> {
    return this.#log(election).submit(head);
  }

  /** A published file, such as `vermont-2020/checkpoint`; undefined when there is none. */
  read(path: string): Promise<Uint8Array | undefined> {
    return this.#publicFiles.read(path);
  }

  /** Which version of a published file there is; undefined when there is none. */
  version(path: string): Promise<FileVersion | undefined> {
    return this.#publicFiles.version(path);
  }

  /** The published heads of an election; undefined for one that nothing was ever submitted for. */
  heads(election: ElectionId): PublicLog["shown"] | undefined {
    return this.#logs.get(election)?.shown;
  }

  /** The newest published head. */
  newest(election: ElectionId): SignedHead | undefined {
    return this.heads(election)?.current;
  }

  /** The elections with a published checkpoint, in order. */
  async elections(): Promise<ElectionId[]> {
    const published: ElectionId[] = [];
    for (const name of await this.#publicFiles.list()) {
      if (!isElectionId(name)) continue;
      if (await this.read(`${name}/${CHECKPOINT}`)) published.push(name);
    }
    return published.sort();
  }

  /** The document of a change of key that an election's log is to have next. */
  keyChange(election: ElectionId): string | undefined {
    return this.#logs.get(election)?.keyChange;
  }

  /** The key that verifies an election's newest checkpoint: `<origin>+<key id>+<base64>`. */
  logKey(election: ElectionId): string {
    const key = this.#logs.get(election)?.key?.toString();
    return key ?? this.#signers(election).newest.verifierKey;
  }

  /** Waits for the heads being worked on, then lets go of the directories. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#logs.values()].map((log) => log.idle()));
    await this.#cosigned.disposeAsync();
    this.#resources.dispose();
  }

  #signers(election: ElectionId): LogSigners {
    return new LogSigners({ ...this.#options, election });
  }

  #log(election: ElectionId): LogPublisher {
    const known = this.#logs.get(election);
    if (known) return known;
    const publicLog = new PublicLog({ files: this.#publicFiles, election });
    const log = new LogPublisher({
      ...this.#options,
      election,
      signers: this.#signers(election),
      state: this.#state,
      publicLog,
      front: new LogFront({
        ...this.#options,
        election,
        publicLog,
        cosigned: this.#cosignedCheckpoint(election, publicLog),
        index: this.#index,
      }),
    });
    this.#logs.set(election, log);
    return log;
  }

  #cosignedCheckpoint(election: ElectionId, publicLog: PublicLog): CosignedCheckpoint | undefined {
    const { witnessing, witnessLimits, clock, logger, metrics } = this.#options;
    if (!witnessing) return undefined;
    return this.#cosigned.use(
      new CosignedCheckpoint({
        ...witnessing,
        publicLog,
        clock,
        logger: logger.child({ election }),
        metrics: metrics.witnesses,
        limits: witnessLimits,
      }),
    );
  }
}

// For tests: a publisher over real directories that go away with the test.
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { addressSet } from "../http/client-address.ts";
import { ClientLimits, type ClientLimitsOptions } from "../http/client-limits.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import type { TileSource } from "./extend-log.ts";
import { publisherMetrics } from "./metrics.ts";
import { Publisher, type PublisherOptions } from "./publisher.ts";
import { TEST_KEY, TEST_PREFIX, type TestElection } from "./test-election.ts";
import { Outsider } from "./test-outsider.ts";

type OpenOptions = Partial<
  Pick<
    PublisherOptions,
    "key" | "nextKey" | "fs" | "clock" | "pageDirectory" | "witnessing" | "witnessLimits"
  >
>;

export class TestDirectories implements AsyncDisposable {
  readonly root: string;
  /** Lines of every logger here, parsed. */
  readonly logged: { level: string; message: string; election?: string }[] = [];
  readonly metrics = new Metrics({ service: "publisher" });
  readonly publisherMetrics = publisherMetrics(this.metrics);
  readonly logger = createLogger({
    service: "publisher",
    level: "debug",
    destination: { write: (line) => void this.logged.push(JSON.parse(line)) },
  });

  private constructor(root: string) {
    this.root = root;
  }

  /** `inMemory`: where the machine has a file system in memory, because hundreds are needed and each flushes files. */
  static async create({ inMemory = false } = {}): Promise<TestDirectories> {
    const parent = inMemory && existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
    return new TestDirectories(await mkdtemp(join(parent, "psephos-publisher-")));
  }

  get state(): string {
    return join(this.root, "state");
  }

  get public(): string {
    return join(this.root, "public");
  }

  open(source: TileSource, options: OpenOptions = {}): Promise<Publisher> {
    return Publisher.open({
      key: options.key ?? TEST_KEY,
      nextKey: options.nextKey,
      logPrefix: TEST_PREFIX,
      source,
      stateDirectory: this.state,
      publicDirectory: this.public,
      pageDirectory: options.pageDirectory,
      logger: this.logger,
      metrics: this.publisherMetrics,
      statements: { maximumDelayS: 60 },
      clock: options.clock ?? systemClock,
      ...(options.fs && { fs: options.fs }),
      witnessing: options.witnessing,
      witnessLimits: options.witnessLimits,
    });
  }

  /** Somebody who reads the public directory as a static file server would show it. */
  outsider(election: Pick<TestElection, "id" | "logKey">): Outsider {
    return new Outsider({ logKey: election.logKey, fetch: (path) => this.file(`${election.id}/${path}`) });
  }

  async file(path: string): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.public, path));
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true });
  }
}

/** Runs a promise that must fail, for what it fails with. */
export async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}

/** Limits that no test meets by accident, since all clients of a test are one machine. */
export function testClientLimits(changes: Partial<ClientLimitsOptions> = {}): ClientLimits {
  return new ClientLimits({
    requestsPerSecond: 100,
    burst: 100,
    connections: 100,
    streams: 100,
    streamsPerClient: 100,
    trustedProxies: addressSet([]),
    exempt: addressSet(["127.0.0.1"]),
    ...changes,
  });
}

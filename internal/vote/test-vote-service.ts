// For tests: the whole of VoteService over a ShardRouter in memory, with its log and metrics to look at.
import type { PromiseTerms } from "../ballot/manifest.ts";
import { systemClock } from "../core/clock.ts";
import { createLogger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { ALGORITHM_ED25519, verifierKey } from "../tlog/note-verifier.ts";
import { AppendBatcher, type BatcherLimits } from "./batcher.ts";
import { VoteCaster } from "./cast.ts";
import { ElectionDirectory } from "./elections.ts";
import { PromiseKey } from "./promise-key.ts";
import { TestShardRouter } from "./test-shard-router.ts";

export const TEST_SECRET = new Uint8Array(32).fill(42);

/** Promises of a test manifest, with the key of every TestVoteService. */
export function testPromises(electionId = "test-1", delaySeconds = 60): PromiseTerms {
  const { publicKey } = new PromiseKey(TEST_SECRET);
  const key = verifierKey(`psephos.test/${electionId}/promise`, ALGORITHM_ED25519, publicKey);
  return { key, delaySeconds };
}

const LIMITS: BatcherLimits = {
  batchVotes: 1_000,
  callsInFlight: 4,
  pendingVotes: 20_000,
  lingerMs: 1,
  callTimeoutMs: 1_000,
  attempts: 3,
  retryDelayMs: 5,
};

export class TestVoteService implements AsyncDisposable {
  readonly router = new TestShardRouter();
  readonly metrics = new Metrics({ service: "vote-service" });
  /** Everything logged, at every level. */
  readonly log: string[] = [];
  readonly logger = createLogger({
    service: "vote-service",
    level: "debug",
    destination: { write: (line) => this.log.push(line) },
  });
  readonly promiseKey = new PromiseKey(TEST_SECRET);
  readonly elections: ElectionDirectory;
  readonly batcher: AppendBatcher;
  readonly caster: VoteCaster;

  constructor(limits: Partial<BatcherLimits> = {}) {
    const { router, metrics, logger, promiseKey } = this;
    const clock = systemClock;
    this.elections = new ElectionDirectory({ router, voterSecret: TEST_SECRET, promiseKey, clock, logger });
    this.batcher = new AppendBatcher({ router, limits: { ...LIMITS, ...limits }, clock, logger, metrics });
    this.caster = new VoteCaster({
      elections: this.elections,
      batcher: this.batcher,
      timeoutMs: 5_000,
      clock,
      metrics,
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.batcher[Symbol.asyncDispose]();
  }
}

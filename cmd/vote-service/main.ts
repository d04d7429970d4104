import { createClient } from "@connectrpc/connect";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { formatAddress, grpcTls } from "../../internal/config/fields.ts";
import { runService, type ServiceContext } from "../../internal/config/run-service.ts";
import { readSecretFile } from "../../internal/config/secret-file.ts";
import { systemClock as clock } from "../../internal/core/clock.ts";
import { ServiceError } from "../../internal/core/errors.ts";
import { CallMetrics } from "../../internal/grpc/call-metrics.ts";
import { GrpcServer } from "../../internal/grpc/server.ts";
import { statusOf } from "../../internal/grpc/status.ts";
import { watchTls } from "../../internal/grpc/tls.ts";
import { createGrpcTransport } from "../../internal/grpc/transport.ts";
import { AppendBatcher } from "../../internal/vote/batcher.ts";
import { electionCallers, voteCallers } from "../../internal/vote/callers.ts";
import { VoteCaster } from "../../internal/vote/cast.ts";
import { type VoteServiceConfig, voteServiceConfig } from "../../internal/vote/config.ts";
import { createElectionService } from "../../internal/vote/election-service.ts";
import { ElectionDirectory } from "../../internal/vote/elections.ts";
import { PromiseKey } from "../../internal/vote/promise-key.ts";
import { createVoteService } from "../../internal/vote/vote-service.ts";
import { listenHttp } from "./http-edge.ts";

/** Of the ten seconds that a process has to stop (run-service.ts). */
const STOP_GRACE_MS = 7_000;

process.exit(await runService({ name: "vote-service", config: voteServiceConfig, start }));

async function start({
  config,
  logger,
  metrics,
}: ServiceContext<VoteServiceConfig>): Promise<AsyncDisposable> {
  const { limits, trust_domain: trustDomain } = config;
  const resources = new AsyncDisposableStack();
  const tls = grpcTls(config.tls);
  const calls = new CallMetrics({ metrics });
  const voterSecret = await readSecretFile(config.voter_secret_file);
  const promiseKey =
    config.promise_key_file === undefined ? undefined : await PromiseKey.load(config.promise_key_file);

  const { method } = ShardRouterService;
  const transport = createGrpcTransport({
    address: formatAddress(config.shard_router),
    tls,
    trustDomain,
    expectedServer: "service/shard-router",
    // Append is as well, but the batcher sends votes again itself: one by one, and within their own deadlines.
    idempotent: [
      method.getElection,
      method.listElections,
      method.createElection,
      method.closeElection,
      method.heads,
    ],
    logger,
    metrics: calls,
  });
  const router = createClient(ShardRouterService, resources.use(transport));

  const elections = new ElectionDirectory({ router, voterSecret, promiseKey, clock, logger });
  const batcher = new AppendBatcher({
    router,
    limits: {
      batchVotes: limits.batch_votes,
      callsInFlight: limits.calls_in_flight,
      pendingVotes: limits.pending_votes,
      lingerMs: limits.linger_ms,
      callTimeoutMs: limits.call_timeout_ms,
      attempts: limits.attempts,
      retryDelayMs: limits.retry_delay_ms,
    },
    clock,
    logger,
    metrics,
  });
  resources.use(batcher);
  const timeoutMs = limits.vote_timeout_ms;
  const caster = new VoteCaster({ elections, batcher, timeoutMs, clock, metrics });

  const voteService = createVoteService({
    caster,
    elections,
    router,
    streamVotes: limits.stream_votes,
    timeoutMs,
    statusOf: (error) => {
      // What has a kind was logged where it happened, once for a batch.
      if (!(error instanceof ServiceError)) logger.error({ error }, "a vote of a stream failed");
      return statusOf(error);
    },
  });
  const electionService = createElectionService({ router, elections, promiseKey, timeoutMs, clock });

  const server = new GrpcServer({ tls, trustDomain, logger, metrics: calls });
  const edge = await listenHttp({ config, voteService, electionService, caster, logger });
  // Both at once, and with time left for what they stand on.
  resources.defer(async () => {
    await Promise.all([server.stop({ graceMs: STOP_GRACE_MS }), edge[Symbol.asyncDispose]()]);
  });
  const watch = watchTls(tls, {
    onChange: (renewed) => edge.update(renewed),
    onError: () => {}, // The gRPC server watches the same files and logs it.
  });
  resources.use(watch);

  server.addService(VoteService, voteService, voteCallers);
  server.addService(ElectionService, electionService, electionCallers);
  await server.listen(formatAddress(config.listen));
  return resources;
}

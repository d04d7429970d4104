import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { formatAddress, grpcTls } from "../../internal/config/fields.ts";
import { runService, type ServiceContext } from "../../internal/config/run-service.ts";
import { systemClock } from "../../internal/core/clock.ts";
import { CallMetrics } from "../../internal/grpc/call-metrics.ts";
import { GrpcServer } from "../../internal/grpc/server.ts";
import type { ConnectionOptions } from "../../internal/postgres/connection.ts";
import { PostgresElectionStore } from "../../internal/postgres/election-store.ts";
import { migrate, requireMigrated } from "../../internal/postgres/migrate.ts";
import { Pool } from "../../internal/postgres/pool.ts";
import { readBrokenGuards } from "../../internal/postgres/schema-guards.ts";
import { PostgresShardInstance } from "../../internal/postgres/shard-instance.ts";
import { shardRouterCallers } from "../../internal/shard/callers.ts";
import {
  type InstanceConfig,
  type ShardRouterConfig,
  shardRouterConfig,
} from "../../internal/shard/config.ts";
import { Elections } from "../../internal/shard/elections.ts";
import { Instance } from "../../internal/shard/instance.ts";
import { ShardMetrics } from "../../internal/shard/metrics.ts";
import { placeShards } from "../../internal/shard/placement.ts";
import { ShardRouter } from "../../internal/shard/router.ts";
import { watchGuards } from "../../internal/shard/watch-guards.ts";
import { RecordStream } from "../../internal/stream/record-stream.ts";

/** It costs a connection and one query of the catalogs. */
const LOOK_AT_GUARDS_MS = 60_000;

process.exit(await runService({ name: "shard-router", config: shardRouterConfig, start }));

async function start(context: ServiceContext<ShardRouterConfig>): Promise<AsyncDisposable> {
  const { config, logger, metrics } = context;
  const { limits, placement, trust_domain: trustDomain } = config;
  const resources = new AsyncDisposableStack();

  const nats = { ...grpcTls(config.nats.tls), serverId: `spiffe://${trustDomain}/service/nats` };
  const publisher = resources.use(
    await RecordStream.connect({ ...config.nats, tls: nats, name: "shard-router", logger }),
  );

  const shardMetrics = new ShardMetrics(metrics);
  const open = (options: InstanceConfig) => {
    const connection = routerConnection(options);
    const { connections } = limits;
    const database = resources.use(new PostgresShardInstance({ connection, connections, logger }));
    const instance = new Instance({
      database,
      prepare: () => prepare(options, context),
      manifestOf: (election) => elections.manifestOf(election),
      onStray: (election) => elections.forget(election),
      publisher,
      limits: {
        groupVotes: limits.group_votes,
        waitingVotes: limits.waiting_votes,
        queuedRecords: limits.queued_records,
      },
      clock: systemClock,
      logger,
      metrics: shardMetrics,
    });
    return resources.use(instance);
  };
  const [first, ...others] = placement.instances;
  if (first === undefined) throw new TypeError("a placement without instances"); // The schema has seen to it.
  const control = open(first);
  const instances = [control, ...others.map(open)];
  // Of its own, so that nobody who reads long chains keeps others from looking an election up.
  const pool = resources.use(new Pool({ connection: routerConnection(first), connections: 2, logger }));
  const store = new PostgresElectionStore({ pool });
  const byName = new Map(instances.map((instance) => [instance.name, instance]));
  const elections = new Elections({
    store,
    availability: control.availability,
    instances: byName,
    logger,
  });
  await Promise.all(instances.map((instance) => instance.start()));

  const stop = new AbortController();
  resources.defer(() => stop.abort());
  const brokenGuards = new Map<string, readonly string[]>();
  for (const options of placement.instances) {
    void watchGuards({
      instance: options.name,
      read: () => readBrokenGuards(routerConnection(options)),
      broken: brokenGuards,
      everyMs: LOOK_AT_GUARDS_MS,
      metrics: shardMetrics,
      clock: systemClock,
      logger,
      signal: stop.signal,
    });
  }

  const router = new ShardRouter({
    instances: byName,
    elections,
    brokenGuards,
    place: (shards) => placeShards(shards, [...byName.keys()], placement.shards),
    clock: systemClock,
    logger,
  });
  const calls = new CallMetrics({ metrics });
  const server = new GrpcServer({ tls: grpcTls(config.tls), trustDomain, logger, metrics: calls });
  // Less than the process has, so that what is taken is still committed and published.
  resources.defer(() => server.stop({ graceMs: 5_000 }));
  server.addService(ShardRouterService, router, shardRouterCallers);
  await server.listen(formatAddress(config.listen));
  return resources;
}

function routerConnection({ migrate_tls: _, ...options }: InstanceConfig): ConnectionOptions {
  return { ...options, role: "psephos_router" };
}

/** Brings an instance's schema to this program's, or makes sure that somebody has. */
async function prepare(
  options: InstanceConfig,
  { logger }: ServiceContext<ShardRouterConfig>,
): Promise<void> {
  const { migrate_tls: tls } = options;
  if (tls === undefined) await requireMigrated(routerConnection(options));
  else await migrate({ ...options, tls, role: "psephos_owner" }, logger);
}

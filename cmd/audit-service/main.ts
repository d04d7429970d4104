import { createClient } from "@connectrpc/connect";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { auditService } from "../../internal/audit/audit-service.ts";
import { Auditor } from "../../internal/audit/auditor.ts";
import { auditCallers } from "../../internal/audit/callers.ts";
import { type AuditServiceConfig, auditServiceConfig } from "../../internal/audit/config.ts";
import { EventKey } from "../../internal/audit/event-key.ts";
import { auditMetrics, probeMetrics } from "../../internal/audit/metrics.ts";
import { ProbeWatch, type StoreProbe } from "../../internal/audit/probe-watch.ts";
import { WatchedEvidence } from "../../internal/audit/watched-evidence.ts";
import { formatAddress, grpcTls } from "../../internal/config/fields.ts";
import { runService, type ServiceContext } from "../../internal/config/run-service.ts";
import { systemClock } from "../../internal/core/clock.ts";
import { CallMetrics } from "../../internal/grpc/call-metrics.ts";
import { GrpcServer } from "../../internal/grpc/server.ts";
import { createGrpcTransport, type GrpcTransportOptions } from "../../internal/grpc/transport.ts";
import { PostgresLogHeadStore } from "../../internal/postgres/log-head-store.ts";
import { Pool } from "../../internal/postgres/pool.ts";
import { RecordStream } from "../../internal/stream/record-stream.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import { bucketOptions, openEvidenceStore } from "../../internal/worm/open-evidence.ts";
import { criticalChecks } from "../../internal/worm/probe/checks.ts";
import { reportJson } from "../../internal/worm/probe/report.ts";
import { S3Probe } from "../../internal/worm/probe/s3-probe.ts";

process.exit(await runService({ name: "audit-service", config: auditServiceConfig, start }));

async function start({
  config,
  logger,
  metrics,
  fail,
}: ServiceContext<AuditServiceConfig>): Promise<AsyncDisposable> {
  const resources = new AsyncDisposableStack();
  const calls = new CallMetrics({ metrics });
  const tls = grpcTls(config.tls);
  const trustDomain = config.trust_domain;
  const connect = (target: Pick<GrpcTransportOptions, "address" | "expectedServer" | "idempotent">) =>
    resources.use(createGrpcTransport({ ...target, tls, trustDomain, logger, metrics: calls }));

  const connection = { ...config.postgres, role: "psephos_audit" as const };
  const pool = resources.use(new Pool({ connection, connections: 4, logger }));
  const auditing = auditMetrics(metrics);
  const store = resources.use(await openEvidenceStore(config.evidence));
  const evidence = new WatchedEvidence({ store, failures: auditing.evidenceFailures, logger });
  const stores = {
    heads: new PostgresLogHeadStore({ pool, connection }),
    evidence,
    layout: config.evidence.layout,
    tiles: new DirectoryStore({ directory: config.tiles.directory }),
  };
  const router = createClient(
    ShardRouterService,
    connect({
      address: formatAddress(config.shard_router),
      expectedServer: "service/shard-router",
      idempotent: [
        ShardRouterService.method.heads,
        ShardRouterService.method.findRecords,
        ShardRouterService.method.getElection,
        ShardRouterService.method.listElections,
      ],
    }),
  );
  const publisher = createClient(
    DigestService,
    connect({ address: formatAddress(config.publisher), expectedServer: "service/publisher" }),
  );
  const nats = { ...grpcTls(config.nats.tls), serverId: `spiffe://${trustDomain}/service/nats` };
  const source = resources.use(
    await RecordStream.connect({ ...config.nats, tls: nats, name: "audit-service", logger }),
  );

  const { s3: bucket } = config.evidence;
  const probe =
    bucket &&
    new ProbeWatch({
      probe: storeProbe(resources.use(new S3Probe(await bucketOptions(bucket)))),
      intervalMs: (bucket.probe?.interval_minutes ?? 60) * 60_000,
      minimum: bucket.probe?.minimum ?? criticalChecks(bucket.retention.mode),
      metrics: probeMetrics(metrics),
      clock: systemClock,
      logger,
    });
  // What auditors ask for waits in a queue of its own, and says nothing about whether sealing can go on.
  const reading = resources.use(await openEvidenceStore(config.evidence));
  const auditor = resources.use(
    new Auditor({
      source,
      stores,
      router,
      publisher,
      probe,
      eventKey: config.event_key === undefined ? undefined : await EventKey.load(config.event_key),
      reconciliation: reconciliationOf(config),
      limits: {
        headIntervalMs: config.limits.head_interval_ms,
        pollIntervalMs: config.limits.poll_interval_ms,
        bufferRecords: config.limits.buffer_records,
      },
      metrics: auditing,
      clock: systemClock,
      logger,
    }),
  );
  auditor.start(fail);

  const server = resources.use(new GrpcServer({ tls, trustDomain, logger, metrics: calls }));
  const sealerOf = auditor.sealerOf.bind(auditor);
  server.addService(
    AuditService,
    auditService({
      sealerOf,
      stores: { ...stores, evidence: reading },
      findRecords: router.findRecords,
      waitingBecause: () => evidence.failing,
    }),
    auditCallers,
  );
  await server.listen(formatAddress(config.listen));
  return resources;
}

function storeProbe(probe: S3Probe): StoreProbe {
  return {
    async run(options) {
      await probe.requireLock();
      const report = await probe.run(options);
      return { results: report.results, report: reportJson(report) };
    },
  };
}

function reconciliationOf({ reconcile }: AuditServiceConfig) {
  const { records_per_second: recordsPerSecond, pause_ms: pauseMs } = reconcile;
  return recordsPerSecond === 0 ? undefined : { recordsPerSecond, pauseMs };
}

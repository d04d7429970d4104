import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { formatAddress, grpcTls } from "../../internal/config/fields.ts";
import { runService, type ServiceContext } from "../../internal/config/run-service.ts";
import { systemClock } from "../../internal/core/clock.ts";
import { CallMetrics } from "../../internal/grpc/call-metrics.ts";
import { connectErrors } from "../../internal/grpc/connect-errors.ts";
import { GrpcServer } from "../../internal/grpc/server.ts";
import { addressSet } from "../../internal/http/client-address.ts";
import { ClientLimits } from "../../internal/http/client-limits.ts";
import { ConnectEdge } from "../../internal/http/connect-edge.ts";
import { digestCallers } from "../../internal/publisher/callers.ts";
import { type PublisherConfig, publisherConfig } from "../../internal/publisher/config.ts";
import { digestService, routeDigestReads, streamCounter } from "../../internal/publisher/digest-service.ts";
import { publisherMetrics } from "../../internal/publisher/metrics.ts";
import { PublicHttpServer } from "../../internal/publisher/public-http.ts";
import { Publisher } from "../../internal/publisher/publisher.ts";
import { SigningKey } from "../../internal/publisher/signing-key.ts";
import { loadWitnessing } from "../../internal/publisher/witnessing.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";

/** What a reader asks is an election's id and a number. */
const MAX_REQUEST_BYTES = 4 * 1024;

/** A stream ends by itself after an hour. */
const MAX_CALL_MS = 65 * 60 * 1000;

process.exit(await runService({ name: "publisher", config: publisherConfig, start }));

async function start(context: ServiceContext<PublisherConfig>): Promise<AsyncDisposable> {
  const { config, logger, metrics } = context;
  const resources = new AsyncDisposableStack();
  const counters = publisherMetrics(metrics);

  const witnessing = config.witnesses && (await loadWitnessing(config.witnesses));
  const publisher = resources.use(
    await Publisher.open({
      key: await SigningKey.load(config.key_file),
      nextKey: config.next_key_file === undefined ? undefined : await SigningKey.load(config.next_key_file),
      logPrefix: config.log_prefix,
      source: new DirectoryStore({ directory: config.tiles.directory }),
      stateDirectory: config.state_directory,
      publicDirectory: config.public_directory,
      pageDirectory: config.page_directory,
      witnessing,
      logger,
      metrics: counters,
      statements: {
        maximumDelayS: config.maximum_delay_s,
        eventKey: config.event_key,
        witnessPolicy: witnessing?.policyText,
      },
      clock: systemClock,
    }),
  );

  const clients = clientLimits(config);
  const procedures = new ConnectEdge({
    routes: (router) => {
      routeDigestReads(router, { publisher, openStream: streamCounter(clients) });
    },
    maxBytes: MAX_REQUEST_BYTES,
    grpcWeb: true,
    maxTimeoutMs: MAX_CALL_MS,
    errors: connectErrors({ logger }),
  });
  resources.use(
    await PublicHttpServer.listen({
      files: publisher,
      ...config.public_listen,
      procedures,
      logger,
      metrics: counters,
      limits: { connections: config.public_limits.connections },
      clients,
    }),
  );

  const server = resources.use(
    new GrpcServer({
      tls: grpcTls(config.tls),
      trustDomain: config.trust_domain,
      logger,
      metrics: new CallMetrics({ metrics }),
    }),
  );
  server.addService(DigestService, digestService(publisher), digestCallers);
  await server.listen(formatAddress(config.listen));
  return resources;
}

function clientLimits({ public_limits: limits }: PublisherConfig): ClientLimits {
  return new ClientLimits({
    requestsPerSecond: limits.requests_per_second,
    burst: limits.burst,
    connections: limits.connections_per_client,
    streams: limits.watchers,
    streamsPerClient: limits.watchers_per_client,
    trustedProxies: addressSet(limits.trusted_proxies),
    exempt: addressSet(limits.exempt),
  });
}

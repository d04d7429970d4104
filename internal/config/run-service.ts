// What every service's process has in common: its command line, configuration, logs, metrics, and how it ends.
import { DEFAULT_MIN_VERSION } from "node:tls";
import { parseArgs } from "node:util";
import type { z } from "zod";
import { messageOf } from "../core/errors.ts";
import { createLogger, type Logger, type LogLevel } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { MetricsServer } from "../telemetry/metrics-server.ts";
import type { Address } from "./fields.ts";
import { ConfigError, loadConfig } from "./load-config.ts";

/** What `commonFields` (fields.ts) gives every service's configuration. */
interface CommonConfig {
  readonly metrics_listen: Address;
  readonly log_level: LogLevel;
}

export interface ServiceContext<Config> {
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Stops the process in order, with exit code 1: for what a running service cannot go on from. */
  readonly fail: (error: unknown) => void;
}

export interface ServiceDefinition<Schema extends z.ZodType<CommonConfig>> {
  /** The name of the process, such as `shard-router`. */
  readonly name: string;
  readonly config: Schema;
  /** Resolves when the service serves. What it returns is disposed of to stop it. */
  readonly start: (context: ServiceContext<z.output<Schema>>) => Promise<AsyncDisposable>;
  /** How long stopping may take before the process ends all the same. Orchestrators kill what takes longer than theirs. */
  readonly stopLimitMs?: number;
}

/** Stopped as asked; failed; wrong usage or configuration. */
export type ExitCode = 0 | 1 | 2;

const STOP_LIMIT_MS = 10_000;

/**
 * Runs a service until SIGTERM or SIGINT. It listens to the whole process, so only a main calls it:
 * `process.exit(await runService({ … }))`.
 */
export async function runService<Schema extends z.ZodType<CommonConfig>>(
  definition: ServiceDefinition<Schema>,
): Promise<ExitCode> {
  let config: z.output<Schema>;
  try {
    requireTls13();
    config = loadConfig(definition.config, configPath());
  } catch (error) {
    console.error(`${definition.name}: ${messageOf(error)}`);
    return 2;
  }
  const logger = createLogger({ service: definition.name, level: config.log_level });
  return Promise.race([serve(definition, config, logger), crash(logger)]);
}

async function serve<Schema extends z.ZodType<CommonConfig>>(
  definition: ServiceDefinition<Schema>,
  config: z.output<Schema>,
  logger: Logger,
): Promise<ExitCode> {
  const { promise: ending, resolve: end } = Promise.withResolvers<ExitCode>();
  onStopRequest((reason) => {
    logger.info({ reason }, "stopping");
    end(0);
  });
  const fail = (error: unknown) => {
    logger.fatal({ error }, "the service cannot go on");
    end(1);
  };
  logger.info({}, "starting");
  try {
    const metrics = new Metrics({ service: definition.name });
    const resources = new AsyncDisposableStack();
    resources.use(await MetricsServer.listen({ metrics, ...config.metrics_listen, logger }));
    const started = await Promise.race([definition.start({ config, logger, metrics, fail }), ending]);
    // Asked to stop before anything was served: there is nobody to say goodbye to.
    if (typeof started === "number") return started;
    resources.use(started);
    logger.info({}, "serving");
    const code = await ending;
    const limitMs = definition.stopLimitMs ?? STOP_LIMIT_MS;
    const stopped = await Promise.race([resources.disposeAsync().then(() => true), falseAfter(limitMs)]);
    if (!stopped) throw new Error(`not stopped within ${limitMs} ms`);
    return code;
  } catch (error) {
    logger.fatal({ error }, "the service could not start, or not stop in order");
    return 1;
  }
}

function onStopRequest(stop: (reason: string) => void): void {
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

/**
 * Resolves after the first error that nothing caught. What the process holds by then cannot be trusted, so it ends as
 * in a power failure, which everything here is built to survive: what must last is in Postgres and the evidence store.
 */
function crash(logger: Logger): Promise<ExitCode> {
  return new Promise((resolve) => {
    const die = (error: unknown) => {
      logger.fatal({ error }, "uncaught error");
      resolve(1);
    };
    process.on("uncaughtException", die);
    process.on("unhandledRejection", die);
  });
}

/** grpc-js has no option for it: a peer that offers only TLS 1.2 is refused because node was told so. */
function requireTls13(): void {
  if (DEFAULT_MIN_VERSION !== "TLSv1.3") throw new ConfigError("run node with --tls-min-v1.3");
}

function configPath(): string {
  const { values } = parseArgs({ options: { config: { type: "string", short: "c" } } });
  if (values.config === undefined) throw new ConfigError("usage: --config FILE");
  return values.config;
}

function falseAfter(ms: number): Promise<false> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), ms);
  });
}

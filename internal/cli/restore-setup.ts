// What `psephos restore` works on, from the services' own configurations.
import { type AuditServiceConfig, auditServiceConfig } from "../audit/config.ts";
import { ConfigError, loadConfig } from "../config/load-config.ts";
import { PostgresRestoreInstance } from "../postgres/restore-instance.ts";
import { type PublisherConfig, publisherConfig } from "../publisher/config.ts";
import { DirectoryLockedError } from "../publisher/directory-lock.ts";
import { DurableFiles } from "../publisher/durable-files.ts";
import { electionsIn } from "../restore/election-evidence.ts";
import type { PublisherDirectories } from "../restore/publisher-files.ts";
import { type ShardRouterConfig, shardRouterConfig } from "../shard/config.ts";
import { placeShards } from "../shard/placement.ts";
import { createLogger } from "../telemetry/logger.ts";
import { DirectoryStore } from "../worm/directory-store.ts";
import type { CliContext } from "./context.ts";
import { describePlace, openEvidence } from "./evidence.ts";
import { UsageError } from "./exit-code.ts";
import { electionsToRestore } from "./restore-checkpoints.ts";

export interface RestoreCommandOptions {
  readonly shardRouter: string;
  readonly auditService: string;
  readonly publisher?: string;
  readonly election?: readonly string[];
  readonly public?: string;
  readonly checkpoint?: readonly string[];
  readonly withoutCheckpoint: boolean;
  readonly logKey?: readonly string[];
  readonly yes: boolean;
}

/** Opens everything, and writes nothing. Throws a UsageError that says what is missing. */
export async function prepareRestore(
  context: CliContext,
  options: RestoreCommandOptions,
  resources: AsyncDisposableStack,
) {
  const router = configOf<ShardRouterConfig>(() => loadConfig(shardRouterConfig, options.shardRouter));
  const audit = configOf<AuditServiceConfig>(() => loadConfig(auditServiceConfig, options.auditService));
  const { publisher: publisherFile } = options;
  const publisher =
    publisherFile === undefined
      ? undefined
      : configOf<PublisherConfig>(() => loadConfig(publisherConfig, publisherFile));

  const logger = createLogger({ service: "psephos", level: "silent" });
  const { instances: servers, shards: map } = router.placement;
  const instances = new Map(
    servers.map(({ migrate_tls: tls, ...server }) => {
      if (!tls) {
        throw new UsageError(
          `${options.shardRouter} has no "migrate_tls" for the instance ${server.name}: the certificate of psephos_owner`,
        );
      }
      const instance = new PostgresRestoreInstance({ connection: { ...server, tls }, logger });
      return [server.name, resources.use(instance)] as const;
    }),
  );
  const place = (shards: number) =>
    placeShards(shards, [...instances.keys()], map).map((name, shard) => {
      if (name !== undefined) return name;
      throw new UsageError(`${options.shardRouter} has no instance for shard ${shard}`);
    });

  const evidence = resources.use(await openEvidence(audit.evidence));
  const tiles = new DirectoryStore({ directory: audit.tiles.directory });
  const ids = options.election?.map((id) => context.election(id)) ?? (await electionsIn(evidence));
  if (ids.length === 0) throw new UsageError(`there is no election in ${describePlace(audit.evidence)}`);
  const elections = await electionsToRestore({
    ...options,
    ids,
    publicDirectory: publisher?.public_directory,
    usual: context.profile?.public,
  });
  const directories = publisher && (await openDirectories(publisher, resources));
  return { elections, evidence, tiles, instances, place, publisher: directories };
}

/** Mistakes in a configuration are mistakes in the use of the command. */
export function configOf<T>(load: () => T): T {
  try {
    return load();
  } catch (error) {
    throw error instanceof ConfigError ? new UsageError(error.message, { cause: error }) : error;
  }
}

async function openDirectories(
  config: PublisherConfig,
  resources: AsyncDisposableStack,
): Promise<PublisherDirectories> {
  try {
    const state = resources.use(await DurableFiles.open({ root: config.state_directory }));
    const publicFiles = resources.use(await DurableFiles.open({ root: config.public_directory }));
    return { state, publicFiles };
  } catch (error) {
    if (!(error instanceof DirectoryLockedError)) throw error;
    throw new UsageError(`the Publisher is running: stop it first (${error.message})`, { cause: error });
  }
}

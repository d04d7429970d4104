// What `psephos restore` works on, from the services' own configurations.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type AuditServiceConfig, auditServiceConfig } from "../audit/config.ts";
import { ConfigError, loadConfig } from "../config/load-config.ts";
import { messageOf } from "../core/errors.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import { PostgresRestoreInstance } from "../postgres/restore-instance.ts";
import { type PublisherConfig, publisherConfig } from "../publisher/config.ts";
import { DirectoryLockedError } from "../publisher/directory-lock.ts";
import { DurableFiles } from "../publisher/durable-files.ts";
import { electionsIn } from "../restore/election-evidence.ts";
import type { PublisherDirectories } from "../restore/publisher-files.ts";
import type { ElectionToRestore } from "../restore/restore.ts";
import { type ShardRouterConfig, shardRouterConfig } from "../shard/config.ts";
import { placeShards } from "../shard/placement.ts";
import { createLogger } from "../telemetry/logger.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { httpSource } from "../verify/http-source.ts";
import { DirectoryStore } from "../worm/directory-store.ts";
import type { CliContext } from "./context.ts";
import { describePlace, openEvidence } from "./evidence.ts";
import { UsageError } from "./exit-code.ts";

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
  const elections = await withCheckpoints(context, options, ids, publisher?.public_directory);
  const directories = publisher && (await openDirectories(publisher, resources));
  return { elections, evidence, tiles, instances, place, publisher: directories };
}

function configOf<T>(load: () => T): T {
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

/** Finds the last public checkpoint of each election. Throws a UsageError when there is none and nobody said to do without. */
async function withCheckpoints(
  context: CliContext,
  options: RestoreCommandOptions,
  ids: readonly ElectionId[],
  publicDirectory: string | undefined,
): Promise<ElectionToRestore[]> {
  const files = new Map(await Promise.all((options.checkpoint ?? []).map(readCheckpoint)));
  for (const id of files.keys()) {
    if (!ids.includes(id))
      throw new UsageError(`there is a --checkpoint of ${id}, which is not to be restored`);
  }
  const logKeys = new Map(options.logKey?.map((key) => [electionOf(NoteVerifier.parse(key).name), key]));
  const place = options.public ?? publicDirectory ?? context.profile?.public;
  const elections = await Promise.all(
    ids.map(async (electionId) => ({
      electionId,
      checkpoint:
        files.get(electionId) ??
        // Neither was named: what is usual is not asked where somebody said to do without.
        (place === undefined ||
        (options.withoutCheckpoint && options.public === undefined && !publicDirectory)
          ? undefined
          : await publicCheckpoint(place, electionId)),
      logKey: logKeys.get(electionId),
    })),
  );
  const without = elections.filter(({ checkpoint }) => !checkpoint).map(({ electionId }) => electionId);
  if (without.length > 0 && !options.withoutCheckpoint) {
    throw new UsageError(
      `there is no public checkpoint of ${without.join(", ")}, so nothing shows that the evidence is complete: name one ` +
        "with --checkpoint or --public, or say --without-checkpoint",
    );
  }
  return elections;
}

/** A checkpoint names its log in its first line, and the log its election: `<log prefix>/<election>`. */
async function readCheckpoint(file: string): Promise<[ElectionId, Uint8Array]> {
  const note = await readFile(file).catch((error) => {
    throw new UsageError(`${file}: ${messageOf(error)}`, { cause: error });
  });
  const [origin = ""] = note.toString("utf8").split("\n", 1);
  const id = electionOf(origin);
  if (!id) throw new UsageError(`${file} is not a checkpoint of an election`);
  return [id, note];
}

function electionOf(origin: string): ElectionId | undefined {
  const id = origin.slice(origin.lastIndexOf("/") + 1);
  return isElectionId(id) ? id : undefined;
}

async function publicCheckpoint(place: string, id: ElectionId): Promise<Uint8Array | undefined> {
  if (URL.canParse(place)) return httpSource(place, id)("checkpoint");
  try {
    return await readFile(join(place, id, "checkpoint"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

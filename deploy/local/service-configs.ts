import type { z } from "zod";
import type { auditServiceConfig } from "../../internal/audit/config.ts";
import type { EvidenceConfig } from "../../internal/config/evidence.ts";
import type { publisherConfig } from "../../internal/publisher/config.ts";
import type { shardRouterConfig } from "../../internal/shard/config.ts";
import type { voteServiceConfig } from "../../internal/vote/config.ts";
import type { TlsFiles } from "./dev-ca.ts";
import { findPage } from "./page.ts";
import type { LocalServers } from "./servers.ts";
import type { StackAddresses } from "./stack-addresses.ts";
import type { StackFolders } from "./stack-folders.ts";

/** The services, by the folder of their main below cmd/, which is also their name in the mesh. */
export type ServiceName = "vote-service" | "shard-router" | "audit-service" | "publisher";

/** Each service's configuration as it stands in its file. */
export interface ServiceConfigs {
  readonly "vote-service": z.input<typeof voteServiceConfig>;
  readonly "shard-router": z.input<typeof shardRouterConfig>;
  readonly "audit-service": z.input<typeof auditServiceConfig>;
  readonly publisher: z.input<typeof publisherConfig>;
}

export interface StackParts {
  readonly servers: LocalServers;
  readonly addresses: StackAddresses;
  readonly folders: StackFolders;
  readonly evidence: EvidenceConfig;
}

/** The configurations of a stack's services, which their own schemas' types check. */
export async function serviceConfigs({
  servers,
  addresses,
  folders,
  evidence,
}: StackParts): Promise<ServiceConfigs> {
  const { ca, nats, postgres } = servers;
  const identity = (name: ServiceName): Promise<TlsFiles> => ca.identity(`service/${name}`);
  const common = async (name: ServiceName) => ({
    listen: addresses[name],
    metrics_listen: addresses.metrics[name],
    tls: await identity(name),
    trust_domain: ca.trustDomain,
  });

  const instances = postgres.map(async (instance) => {
    const router = await instance.connection("psephos_router");
    const owner = await instance.connection("psephos_owner");
    const { host, port, database, tls } = router;
    return { name: instance.name, host, port, database, tls, migrate_tls: owner.tls };
  });
  const [control] = postgres;
  if (control === undefined) throw new RangeError("a stack has at least one Postgres instance");
  const { user: _, ...database } = await control.connection("psephos_audit");

  return {
    "shard-router": {
      ...(await common("shard-router")),
      placement: { instances: await Promise.all(instances) },
      nats: { servers: [nats.url], tls: await identity("shard-router"), replicas: 1 },
    },
    "audit-service": {
      ...(await common("audit-service")),
      shard_router: addresses["shard-router"],
      publisher: addresses.publisher,
      postgres: { name: control.name, ...database },
      nats: { servers: [nats.url], tls: await identity("audit-service"), replicas: 1 },
      evidence,
      tiles: { directory: folders.tiles },
      event_key: folders.eventKeyFile,
    },
    publisher: {
      ...(await common("publisher")),
      public_listen: addresses.public,
      log_prefix: ca.trustDomain,
      key_file: folders.signingKeyFile,
      state_directory: folders.publisherState,
      public_directory: folders.public,
      page_directory: await findPage(),
      tiles: { directory: folders.tiles },
    },
    "vote-service": {
      ...(await common("vote-service")),
      http_listen: addresses.voteHttp,
      shard_router: addresses["shard-router"],
      voter_secret_file: folders.voterSecretFile,
      promise_key_file: folders.promiseKeyFile,
    },
  };
}

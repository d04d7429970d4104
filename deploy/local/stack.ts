import { resolve } from "node:path";
import type { EvidenceConfig } from "../../internal/config/evidence.ts";
import { waitForHealthy } from "../../internal/grpc/health-client.ts";
import type { TlsFiles } from "./dev-ca.ts";
import { type EvidenceStoreChoice, LocalEvidence } from "./local-evidence.ts";
import type { LocalNats } from "./nats.ts";
import type { LocalPostgres } from "./postgres.ts";
import { startTogether, stopTogether } from "./process.ts";
import { LocalServers, type LocalServersOptions } from "./servers.ts";
import { type ServiceConfigs, type ServiceName, serviceConfigs } from "./service-configs.ts";
import { ServiceProcess } from "./service-process.ts";
import { type StackAddresses, stackAddresses } from "./stack-addresses.ts";
import { type StackFolders, stackFolders } from "./stack-folders.ts";

export interface LocalStackOptions extends LocalServersOptions {
  /** Where the evidence goes: a folder below the state folder unless said otherwise. */
  readonly store?: EvidenceStoreChoice | undefined;
  /** Of the evidence: whether votes are lines of their segments, or objects. */
  readonly layout?: EvidenceConfig["layout"] | undefined;
  /** Changes a service's configuration before it starts. */
  readonly configure?: {
    readonly [Name in ServiceName]?: (config: ServiceConfigs[Name]) => ServiceConfigs[Name];
  };
}

/** Whom each layer calls is in the layers before it. Within a layer, nobody waits for anybody. */
const LAYERS: readonly (readonly ServiceName[])[] = [
  ["shard-router", "publisher"],
  ["audit-service", "vote-service"],
];

/** How long one look at a service's health takes at most, before it is tried again from the start. */
const PROBE_MS = 1_000;

/** A whole deployment on this machine: Postgres, NATS and the four services, each a process, over mutual TLS. */
export class LocalStack implements AsyncDisposable {
  readonly servers: LocalServers;
  readonly services: Readonly<Record<ServiceName, ServiceProcess>>;
  readonly addresses: StackAddresses;
  readonly folders: StackFolders;
  readonly evidence: LocalEvidence;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    parts: Pick<LocalStack, "servers" | "services" | "addresses" | "folders" | "evidence">,
    resources: AsyncDisposableStack,
  ) {
    this.servers = parts.servers;
    this.services = parts.services;
    this.addresses = parts.addresses;
    this.folders = parts.folders;
    this.evidence = parts.evidence;
    this.#resources = resources;
  }

  /** Starts everything on what the state folder holds, and resolves when every service is healthy. */
  static async start(options: LocalStackOptions): Promise<LocalStack> {
    const { configure = {}, onUnexpectedExit, store = { kind: "directory" }, layout = "segments" } = options;
    const folder = resolve(options.folder); // The services have a working directory of their own.
    await using resources = new AsyncDisposableStack();
    const servers = resources.use(await LocalServers.start(options));
    const folders = await stackFolders(folder);
    const addresses = await stackAddresses(servers.ports);
    const place = { folder, directory: folders.evidence };
    const evidence = resources.use(
      await LocalEvidence.open({ ...options, ...place, store, layout, servers }),
    );
    const configs = await serviceConfigs({ servers, addresses, folders, evidence: evidence.config });
    const operator = await servers.ca.identity("operator/local");

    const service = <Name extends ServiceName>(name: Name) =>
      new ServiceProcess({
        name,
        folder,
        config: configure[name]?.(configs[name]) ?? configs[name],
        probe: (signal) => isHealthy(name, addresses[name], operator, servers.ca.trustDomain, signal),
        onUnexpectedExit,
      });
    const services = {
      "vote-service": service("vote-service"),
      "shard-router": service("shard-router"),
      "audit-service": service("audit-service"),
      publisher: service("publisher"),
    };
    for (const layer of LAYERS) {
      const processes = layer.map((name) => services[name]);
      resources.defer(() => stopTogether(processes));
      await startTogether(processes);
      options.signal?.throwIfAborted();
    }
    return new LocalStack({ servers, services, addresses, folders, evidence }, resources.move());
  }

  get postgres(): readonly LocalPostgres[] {
    return this.servers.postgres;
  }

  get nats(): LocalNats {
    return this.servers.nats;
  }

  get trustDomain(): string {
    return this.servers.ca.trustDomain;
  }

  /** Certificates to call the services with: `operator/local`, `client/polling-1`, `auditor/local` … */
  identity(path: string): Promise<TlsFiles> {
    return this.servers.ca.identity(path);
  }

  /** Stops the services, those that call before those that are called, and then what they stand on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

async function isHealthy(
  name: ServiceName,
  address: string,
  tls: TlsFiles,
  trustDomain: string,
  signal: AbortSignal,
): Promise<boolean> {
  await waitForHealthy({
    address,
    tls: { caFile: tls.ca, certFile: tls.cert, keyFile: tls.key },
    trustDomain,
    expectedServer: `service/${name}`,
    timeoutMs: PROBE_MS,
    signal,
  });
  return true;
}

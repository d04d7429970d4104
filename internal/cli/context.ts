import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import { createGrpcTransport } from "../grpc/transport.ts";
import { createLogger } from "../telemetry/logger.ts";
import { UsageError } from "./exit-code.ts";
import { loadProfile, type Profile, type Role } from "./profile.ts";
import type { Terminal } from "./terminal.ts";

type ServiceName = "vote-service" | "shard-router" | "audit-service" | "publisher";

/** What commands share: the deployment, connections to its services, and where to write. */
export class CliContext implements AsyncDisposable {
  readonly terminal: Terminal;
  readonly profile: Profile;
  readonly #connections = new AsyncDisposableStack();
  readonly #logger = createLogger({ service: "psephos", level: "silent" });

  constructor(options: { readonly terminal: Terminal; readonly profile: Profile }) {
    this.terminal = options.terminal;
    this.profile = options.profile;
  }

  static async load(terminal: Terminal, profilePath: string): Promise<CliContext> {
    return new CliContext({ terminal, profile: await loadProfile(profilePath) });
  }

  /** The election that was named, or else the profile's. */
  election(named: string | undefined): ElectionId {
    const id = named ?? this.profile.election;
    if (id === undefined) throw new UsageError("name an election with --election");
    if (!isElectionId(id)) throw new UsageError("an election id is 1 to 63 of a-z, 0-9 and inner hyphens");
    return id;
  }

  votes(): Client<typeof VoteService> {
    return this.#client(VoteService, "vote-service", this.profile.edge, "client");
  }

  elections(role: Role): Client<typeof ElectionService> {
    return this.#client(ElectionService, "vote-service", this.profile.edge, role);
  }

  audit(role: Role): Client<typeof AuditService> {
    return this.#client(AuditService, "audit-service", this.profile.audit, role);
  }

  digests(role: Role): Client<typeof DigestService> {
    return this.#client(DigestService, "publisher", this.profile.publisher, role);
  }

  shards(role: Role): Client<typeof ShardRouterService> {
    return this.#client(ShardRouterService, "shard-router", this.profile.shard_router, role);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections.disposeAsync();
  }

  #client<D extends DescService>(
    service: D,
    name: ServiceName,
    address: string | undefined,
    role: Role,
  ): Client<D> {
    const identity = this.profile.identities[role];
    if (!address) throw new UsageError(`the profile does not say where ${name} is`);
    if (!identity)
      throw new UsageError(`the profile has no identity of kind "${role}", which this command needs`);
    const transport = createGrpcTransport({
      address,
      tls: { caFile: identity.ca, certFile: identity.cert, keyFile: identity.key },
      trustDomain: this.profile.trust_domain,
      expectedServer: `service/${name}`,
      logger: this.#logger,
    });
    return createClient(service, this.#connections.use(transport));
  }
}

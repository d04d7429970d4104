import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { grpcTls } from "../config/fields.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import { createGrpcTransport } from "../grpc/transport.ts";
import { createLogger } from "../telemetry/logger.ts";
import { ExitCode, UsageError } from "./exit-code.ts";
import type { Profile, Role } from "./profile.ts";
import type { Terminal } from "./terminal.ts";

type ServiceName = "vote-service" | "shard-router" | "audit-service" | "publisher";

export interface CliContextOptions {
  readonly terminal: Terminal;
  /** Whether data is for programs. */
  readonly json: boolean;
  /** None for a stranger, who names everything on the command line. */
  readonly profile: Profile | undefined;
  /** Where the profile is, or would be. */
  readonly profilePath: string;
}

/** What commands share: the deployment, connections to its services, and where to write. */
export class CliContext implements AsyncDisposable {
  readonly terminal: Terminal;
  readonly json: boolean;
  readonly profile: Profile | undefined;
  readonly #profilePath: string;
  readonly #connections = new AsyncDisposableStack();
  readonly #logger = createLogger({ service: "psephos", level: "silent" });

  constructor({ terminal, json, profile, profilePath }: CliContextOptions) {
    this.terminal = terminal;
    this.json = json;
    this.profile = profile;
    this.#profilePath = profilePath;
  }

  /** Writes a command's result: as a line of JSON, or as people read it. */
  show(data: object, text: () => string): ExitCode {
    this.terminal.data(this.json ? JSON.stringify(data) : text());
    return ExitCode.ok;
  }

  /** What the profile says; a UsageError tells what to do when it does not. */
  setting<Key extends keyof Profile>(key: Key): NonNullable<Profile[Key]> {
    const value = this.profile?.[key];
    if (value !== undefined) return value;
    throw new UsageError(
      this.profile
        ? `the profile ${this.#profilePath} does not say "${key}", which this command needs`
        : `there is no profile at ${this.#profilePath}: start a local deployment with "npm start", or name a profile ` +
            "with --profile",
    );
  }

  /** The election that was named, or else the profile's. */
  election(named: string | undefined): ElectionId {
    const id = named ?? this.profile?.election;
    if (id === undefined) throw new UsageError("name an election with --election");
    if (!isElectionId(id)) throw new UsageError("an election id is 1 to 63 of a-z, 0-9 and inner hyphens");
    return id;
  }

  votes(): Client<typeof VoteService> {
    return this.#client(VoteService, "vote-service", this.setting("edge"), "client");
  }

  elections(role: Role): Client<typeof ElectionService> {
    return this.#client(ElectionService, "vote-service", this.setting("edge"), role);
  }

  audit(role: Role): Client<typeof AuditService> {
    return this.#client(AuditService, "audit-service", this.setting("audit"), role);
  }

  digests(role: Role): Client<typeof DigestService> {
    return this.#client(DigestService, "publisher", this.setting("publisher"), role);
  }

  shards(role: Role): Client<typeof ShardRouterService> {
    return this.#client(ShardRouterService, "shard-router", this.setting("shard_router"), role);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections.disposeAsync();
  }

  #client<D extends DescService>(service: D, name: ServiceName, address: string, role: Role): Client<D> {
    const identity = this.setting("identities")[role];
    if (!identity) {
      throw new UsageError(`the profile has no identity of kind "${role}", which this command needs`);
    }
    const transport = createGrpcTransport({
      address,
      tls: grpcTls(identity),
      trustDomain: this.setting("trust_domain"),
      expectedServer: `service/${name}`,
      logger: this.#logger,
    });
    return createClient(service, this.#connections.use(transport));
  }
}

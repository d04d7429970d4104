// Routers over real Postgres servers, for tests. Only the stream is not real.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createHandlerContext } from "@connectrpc/connect";
import {
  AppendOutcome,
  AppendRequestSchema,
  AppendResponseSchema,
  type NewVote,
  RecordBatchSchema,
  ShardRouterService,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import type { Manifest } from "../ballot/manifest.ts";
import { toHex } from "../core/bytes.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { PostgresElectionStore } from "../postgres/election-store.ts";
import { Pool } from "../postgres/pool.ts";
import { PostgresShardInstance } from "../postgres/shard-instance.ts";
import { silent, type TestPostgres } from "../postgres/test-postgres.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { Elections } from "./elections.ts";
import { Instance } from "./instance.ts";
import { ShardMetrics } from "./metrics.ts";
import { placeShards } from "./placement.ts";
import type { RecordPublisher } from "./ports.ts";
import { ShardRouter } from "./router.ts";
import { testVote } from "./test-votes.ts";

/** A stream that keeps what it gets, and can be away. */
export class TestPublisher implements RecordPublisher {
  /** `<election>/<shard>/<sequence>` to the record's hash. */
  readonly records = new Map<string, string>();
  messages = 0;
  away = false;

  async publish(electionId: string, body: Uint8Array): Promise<void> {
    if (this.away) throw new ServiceError("unavailable", "the stream is away");
    this.messages++;
    const batch = fromBinary(RecordBatchSchema, body);
    if (batch.electionId !== electionId) throw new TypeError("published under another election");
    for (const { shard, firstSequence, records } of batch.runs) {
      records.forEach(({ hash }, index) => {
        this.records.set(`${electionId}/${shard}/${Number(firstSequence) + index}`, toHex(hash));
      });
    }
  }
}

export interface TestRouterOptions {
  readonly publisher?: TestPublisher;
  readonly clock?: Clock;
  /** The port of each instance, where it is not the server's own. */
  readonly ports?: readonly number[];
  readonly brokenGuards?: ReadonlyMap<string, readonly string[]>;
  readonly limits?: Partial<{ groupVotes: number; waitingVotes: number; queuedRecords: number }>;
}

/** A ShardRouter as its main would wire it. */
export class TestRouter implements AsyncDisposable {
  readonly router: ShardRouter;
  readonly publisher: TestPublisher;
  readonly instances: readonly Instance[];
  readonly #resources: AsyncDisposableStack;

  private constructor(
    options: Pick<TestRouter, "router" | "publisher" | "instances">,
    resources: AsyncDisposableStack,
  ) {
    this.router = options.router;
    this.publisher = options.publisher;
    this.instances = options.instances;
    this.#resources = resources;
  }

  static async start(postgres: TestPostgres, options: TestRouterOptions = {}): Promise<TestRouter> {
    const resources = new AsyncDisposableStack();
    const { publisher = new TestPublisher(), clock = systemClock, ports = [] } = options;
    const metrics = new ShardMetrics(new Metrics({ service: "test" }));
    const connections = await Promise.all(
      postgres.servers.map(async ({ port }, index) => ({
        ...(await postgres.connection("psephos_router", index)),
        port: ports[index] ?? port,
      })),
    );
    const [control] = connections;
    if (control === undefined) throw new RangeError("no server");
    const instances = connections.map((connection) => {
      const database = new PostgresShardInstance({ connection, connections: 4, logger: silent });
      const instance = new Instance({
        database: resources.use(database),
        prepare: async () => {},
        manifestOf: (number) => elections.manifestOf(number),
        onStray: (election) => elections.forget(election),
        publisher,
        limits: { groupVotes: 1_000, waitingVotes: 10_000, queuedRecords: 50_000, ...options.limits },
        clock,
        logger: silent,
        metrics,
      });
      return resources.use(instance);
    });
    const [first] = instances;
    if (first === undefined) throw new RangeError("no instance");
    const pool = resources.use(new Pool({ connection: control, connections: 2, logger: silent }));
    const byName = new Map(instances.map((instance) => [instance.name, instance]));
    const elections = new Elections({
      store: new PostgresElectionStore({ pool }),
      availability: first.availability,
      instances: byName,
      logger: silent,
    });
    await Promise.all(instances.map((instance) => instance.start()));
    const router = new ShardRouter({
      instances: byName,
      elections,
      brokenGuards: options.brokenGuards ?? new Map(),
      place: (shards) => placeShards(shards, [...byName.keys()], undefined),
      clock,
      logger: silent,
    });
    return new TestRouter({ router, publisher, instances }, resources);
  }

  /** Appends votes and returns the results. */
  async append(
    manifest: Manifest,
    votes: readonly Pick<NewVote, "voterPseudonym" | "sealedChoice" | "requestToken">[],
  ) {
    const request = create(AppendRequestSchema, {
      electionId: manifest.electionId,
      votes: votes.map(({ voterPseudonym, sealedChoice, requestToken }) => ({
        voterPseudonym,
        sealedChoice,
        requestToken,
      })),
    });
    const response = create(AppendResponseSchema, await this.router.append(request, testContext()));
    // As callers get it: whether a hash was read from the database or just made is nothing to them.
    return fromBinary(AppendResponseSchema, toBinary(AppendResponseSchema, response)).results;
  }

  /** Appends a first vote of each of some voters and returns the outcomes. */
  async vote(manifest: Manifest, voters: readonly string[]): Promise<string[]> {
    const results = await this.append(
      manifest,
      voters.map((voter) => testVote(manifest, voter)),
    );
    return results.map(({ outcome }) => AppendOutcome[outcome]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync();
  }
}

export function testContext(signal?: AbortSignal) {
  return createHandlerContext({
    service: ShardRouterService,
    method: ShardRouterService.method.append,
    protocolName: "grpc",
    requestMethod: "POST",
    url: "https://shard-router/",
    ...(signal ? { requestSignal: signal } : {}),
  });
}

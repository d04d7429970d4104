// A whole deployment for a test file, and elections in it whose every acknowledged vote is accounted for.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { expect } from "vitest";
import type { ServiceName } from "../../deploy/local/service-configs.ts";
import { LocalStack, type LocalStackOptions } from "../../deploy/local/stack.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { AuditService, SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { DigestService } from "../../gen/ts/psephos/digest/v1/digest_pb.js";
import { ShardRouterService } from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { EventKey } from "../audit/event-key.ts";
import { encodeManifest, type Manifest, manifestHash } from "../ballot/manifest.ts";
import { nameOfKey, promiseKeyName } from "../ballot/manifest-json.ts";
import { ChoiceOpener } from "../ballot/opening.ts";
import { generateTallyKeyPair } from "../ballot/tally-key.ts";
import { combineTallyShares, splitTallyKey, type TallyShare } from "../ballot/trustees.ts";
import { type CastTotals, VoteCaster, type VoteToCast } from "../cli/vote-caster.ts";
import { grpcTls } from "../config/fields.ts";
import { toHex } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { type ElectionId, electionId, voteIdOf } from "../core/ids.ts";
import { readKeyChanges } from "../evidence/key-change.ts";
import { checkpointKey, checkpointNumberOf, parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { readSegment } from "../evidence/read-segment.ts";
import { createGrpcTransport } from "../grpc/transport.ts";
import { parsePromise, verifyPromise } from "../receipt/promise.ts";
import { createLogger } from "../telemetry/logger.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { ALGORITHM_ED25519, NoteVerifier, verifierKey } from "../tlog/note-verifier.ts";
import { httpSource, type PublicSource } from "../verify/http-source.ts";
import { VerificationReport } from "../verify/report.ts";
import { verifyEvidence } from "../verify/verify-evidence.ts";
import { verifyPublicLog } from "../verify/verify-public.ts";
import type { ObjectStore } from "../worm/object-store.ts";
import { openEvidenceStore } from "../worm/open-evidence.ts";
import { type CastingClient, Ledger } from "./ledger.ts";

/** What is asked for until it is so. Each step of the services takes milliseconds, an outage's backoff seconds. */
const POLL_MS = 20;
const LIMIT_MS = 60_000;

/** Resolves when `condition` holds. Rejects when it does not in time, or throws. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = LIMIT_MS,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs / 1000} s: ${what}`);
    await sleep(POLL_MS);
  }
}

/** The ServiceError that an answer is. */
export async function refusalOf(answer: Promise<unknown>): Promise<ServiceError> {
  const error = await answer.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof ServiceError) return error;
  throw new Error("it was not refused with a ServiceError", { cause: error });
}

/** The request for a vote. */
export function voteOf(election: TestElection, { voterId, requestId, choiceId }: VoteToCast) {
  const choice = { case: "candidateId" as const, value: choiceId };
  return { electionId: election.id, voterId, requestId, choice };
}

/** Postgres, NATS and the four services in a folder that is deleted at the end, and clients of every role. */
export class TestStack implements AsyncDisposable {
  readonly stack: LocalStack;
  /** Servers and services that ended by themselves. */
  readonly crashes: readonly Error[];
  readonly #resources: AsyncDisposableStack;

  private constructor(stack: LocalStack, crashes: readonly Error[], resources: AsyncDisposableStack) {
    this.stack = stack;
    this.crashes = crashes;
    this.#resources = resources;
  }

  static async start(
    options: Omit<LocalStackOptions, "folder" | "onUnexpectedExit"> = {},
  ): Promise<TestStack> {
    await using resources = new AsyncDisposableStack();
    const folder = resources.use(await TemporaryFolder.create());
    const crashes: Error[] = [];
    const stack = resources.use(
      await LocalStack.start({
        postgresCopied: true,
        ...options,
        folder: join(folder.path, "state"),
        onUnexpectedExit: (error) => crashes.push(error),
      }),
    );
    return new TestStack(stack, crashes, resources.move());
  }

  /** A client with a connection of its own, as whoever `identity` names, such as `client/test`. */
  async client<D extends DescService>(service: D, identity: string, address?: string): Promise<Client<D>> {
    const name = SERVED_BY[service.typeName];
    if (name === undefined) throw new RangeError(`who serves ${service.typeName}?`);
    const transport = createGrpcTransport({
      address: address ?? this.stack.addresses[name],
      tls: grpcTls(await this.stack.identity(identity)),
      trustDomain: this.stack.trustDomain,
      expectedServer: `service/${name}`,
      logger,
    });
    return createClient(service, this.#resources.use(transport));
  }

  /** Creates an election, open, promised and with three choices unless said otherwise. Its trustees are in this process. */
  async createElection(id: string, changes: Partial<Manifest> = {}): Promise<TestElection> {
    const operator = "operator/test";
    const electionIdOf = electionId(id);
    const digests = await this.client(DigestService, operator);
    const { verifierKey: logKey } = await digests.getLogKey({ electionId: id });
    const elections = await this.client(ElectionService, operator);
    const { publicKey } = await elections.getPromiseKey({});
    const promiseKey = verifierKey(promiseKeyName(nameOfKey(logKey)), ALGORITHM_ED25519, publicKey);
    const keyPair = generateTallyKeyPair();
    const manifest: Manifest = {
      electionId: electionIdOf,
      title: `The election ${id}`,
      choices: ["ada", "bob", "eve"].map((choice) => ({ id: choice, name: `Candidate ${choice}` })),
      shards: 16,
      revoting: "forbidden",
      opensAt: Date.now() * 1000,
      closesAt: null,
      tallyKey: keyPair.publicKey,
      trustees: { shares: 3, threshold: 2 },
      logKey,
      promises: { key: promiseKey, delaySeconds: 60 },
      ...changes,
    };
    const { trustees } = manifest;
    const shares = await splitTallyKey({ electionId: electionIdOf, keyPair, trustees });
    await elections.createElection({ manifest: encodeManifest(manifest) });
    const evidence = this.#resources.use(await openEvidenceStore(this.stack.evidence.config));
    return new TestElection({ stack: this, manifest, shares, elections, evidence });
  }

  /** What a service's metric is now, over all its labels. */
  async metric(service: ServiceName, name: string): Promise<number> {
    const response = await fetch(`http://${this.stack.addresses.metrics[service]}/metrics`);
    const values = [...(await response.text()).matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "gm"))];
    if (values.length === 0) throw new RangeError(`${service} has no metric ${name}`);
    return values.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

const logger = createLogger({ service: "test", level: "silent" });

const SERVED_BY: Readonly<Record<string, ServiceName | undefined>> = {
  [VoteService.typeName]: "vote-service",
  [ElectionService.typeName]: "vote-service",
  [ShardRouterService.typeName]: "shard-router",
  [AuditService.typeName]: "audit-service",
  [DigestService.typeName]: "publisher",
};

interface TestElectionOptions {
  readonly stack: TestStack;
  readonly manifest: Manifest;
  readonly shares: readonly TallyShare[];
  readonly elections: Client<typeof ElectionService>;
  readonly evidence: ObjectStore;
}

export class TestElection {
  readonly id: ElectionId;
  readonly manifest: Manifest;
  readonly shares: readonly TallyShare[];
  /** As the operator. */
  readonly elections: Client<typeof ElectionService>;
  /** Every vote acknowledged to a client that `voter` gave. */
  readonly ledger = new Ledger();
  /** The public log, by path. */
  readonly source: PublicSource;
  readonly evidence: ObjectStore;
  readonly #stack: TestStack;
  #voters = 0;

  constructor({ stack, manifest, shares, elections, evidence }: TestElectionOptions) {
    this.id = manifest.electionId;
    this.manifest = manifest;
    this.shares = shares;
    this.elections = elections;
    this.source = httpSource(`http://${stack.stack.addresses.public}`, manifest.electionId);
    this.evidence = evidence;
    this.#stack = stack;
  }

  /** A client, with a connection of its own, whose acknowledged votes are written into the ledger. */
  async voter(address?: string): Promise<CastingClient> {
    return this.ledger.record(await this.#stack.client(VoteService, "client/test", address));
  }

  /** Votes recorded, by the shards' own heads. */
  async recorded(): Promise<number> {
    const { election } = await this.elections.getElection({ electionId: this.id });
    return Number(election?.votes);
  }

  /** A vote that nobody has cast yet, by a new voter, for one of the choices in turn. */
  ballot(): VoteToCast {
    const number = this.#voters++;
    const choiceId = this.manifest.choices[number % this.manifest.choices.length]?.id ?? "";
    return { voterId: `voter ${number}`, requestId: `request ${number}`, choiceId };
  }

  ballots(count: number): VoteToCast[] {
    return Array.from({ length: count }, () => this.ballot());
  }

  /** Casts votes until each is answered for good, through whatever happens to the services. */
  async cast(votes: Iterable<VoteToCast>, { streams = 4, window = 500 } = {}): Promise<CastTotals> {
    const client = await this.voter();
    const { signal } = new AbortController();
    return new VoteCaster({ client, electionId: this.id, streams, window, signal }).cast(votes);
  }

  /**
   * Closes the election and waits until all that was recorded is sealed, signed and public, down to the last vote
   * checkpoint.
   */
  async drain(): Promise<void> {
    await until(`${this.id} is closed`, () => this.#close());
    const least = (await this.recorded()) + 2; // the manifest's entry and the closing one; events may come to them
    const audit = await this.#stack.client(AuditService, "operator/test");
    await until(`the log of ${this.id} is public with its ${least} entries`, async () => {
      const { head } = await audit.getHead({ electionId: this.id });
      if (head?.state === SealingState.HALTED) throw new Error(`sealing is halted: ${head.haltedBecause}`);
      const size = await this.publishedSize();
      if (head?.state !== SealingState.COMPLETE || Number(head.treeSize) !== size || size < least)
        return false;
      const last = checkpointNumberOf(size - 1);
      const numbered = await this.source(`checkpoints/${String(last).padStart(10, "0")}`);
      return numbered !== undefined && (await this.evidence.get(checkpointKey(this.id, last))) !== undefined;
    });
  }

  /** False while a server it needs is not back yet. */
  async #close(): Promise<boolean> {
    try {
      await this.elections.closeElection({ electionId: this.id });
      return true;
    } catch (error) {
      if (error instanceof ServiceError && error.kind === "unavailable") return false;
      throw error;
    }
  }

  /** The size of the newest signed checkpoint that the public sees; 0 while there is none. */
  async publishedSize(): Promise<number> {
    const log = await readKeyChanges(NoteVerifier.parse(this.manifest.logKey), this.source);
    const note = await this.source("checkpoint");
    return note ? openCheckpoint({ note, log }).checkpoint.size : 0;
  }

  /**
   * The closed election's log, verified from outside, has exactly the votes of the ledger, each once, where their voters
   * were told they are, and they count as they were cast.
   */
  async expectExactly(): Promise<void> {
    const { ledger, manifest } = this;
    const { log, evidence } = await this.expectSealed();
    expect(log?.closing?.totalVotes).toBe(ledger.size);
    const privateKey = await combineTallyShares(manifest, this.shares.slice(-manifest.trustees.threshold));
    const counted = await evidence?.tally.count(await ChoiceOpener.create({ manifest, privateKey }));
    expect(counted).toMatchObject({
      counts: ledger.counts(manifest.choices.map((choice) => choice.id)),
      spoilt: { malformed: 0, undecryptable: 0, "no-such-choice": 0 },
      records: ledger.size,
    });
  }

  /** The same, but for the count, of a log that may go on. Nothing is under way, and all that was cast is public. */
  async expectSealed() {
    const { id, ledger, manifest } = this;
    const { logKey } = manifest;
    const report = new VerificationReport();
    const log = await verifyPublicLog({ source: this.source, electionId: id, report, logKey });
    const known = log && { size: log.checkpoint.size, root: log.checkpoint.root };
    const eventKey = (await EventKey.load(this.#stack.stack.folders.eventKeyFile)).verifierKey(manifest);
    const keys = { logKey, eventKey };
    const evidence = await verifyEvidence({ store: this.evidence, electionId: id, report, ...keys, known });
    expect({ problems: report.problems, notChecked: report.notChecked }).toEqual({
      problems: [],
      notChecked: [],
    });
    const others = log?.closing ? 2 : 1; // The manifest's entry, and the closing one.
    expect(log?.checkpoint.size).toBe(ledger.size + report.checked.events + others);

    const sealed = [];
    for await (const { voteId, hash, revision } of this.sealedVotes()) sealed.push([voteId, hash, revision]);
    const acknowledged = ledger.votes.map(({ voteId, recordHash, revision }) => [
      voteId,
      recordHash,
      revision,
    ]);
    expect(sealed.sort(byVoteId)).toEqual(acknowledged.sort(byVoteId));
    // And so every promise was kept.
    const promised = { manifest, manifestHash: manifestHash(manifest) };
    for (const file of ledger.promises) verifyPromise({ promise: parsePromise(file), ...promised });
    expect(ledger.promises.length > 0).toBe(ledger.size > 0);
    expect(this.#stack.crashes).toEqual([]);
    return { log, evidence };
  }

  /** Every record in the evidence store, in log order. */
  async *sealedVotes() {
    for await (const key of this.evidence.list(votesPrefix(this.id))) {
      const found = parseSegmentKey(key) && (await readSegment(this.evidence, key));
      for (const entry of found?.segment.entries ?? []) {
        if (entry.type !== "vote") continue;
        const { record } = entry;
        const voteId = voteIdOf(record.shard, record.sequence, this.manifest.shards);
        yield { ...record, voteId, hash: toHex(record.hash) };
      }
    }
  }

  /** Starts casting, in the background, a vote of a new voter after the other. */
  async startCasting(options?: CastingOptions): Promise<Casting> {
    return new Casting(this, await this.voter(), options);
  }
}

function byVoteId([a = 0]: (number | string)[], [b = 0]: (number | string)[]): number {
  return Number(a) - Number(b);
}

export interface CastingOptions {
  /** Votes under way on each of the four streams. Few unless given, so that an outage can last without a flood. */
  readonly window?: number;
  /** One in so many votes is followed by its voter's second attempt, which must be refused. */
  readonly secondAttempts?: number;
}

/** Votes being cast in the background, until told to stop. */
export class Casting {
  readonly totals: CastTotals;
  readonly #election: TestElection;
  readonly #finished: Promise<CastTotals>;
  #stopped = false;
  #attempts = 0;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    election: TestElection,
    client: CastingClient,
    { window = 4, secondAttempts = 20 }: CastingOptions = {},
  ) {
    this.#election = election;
    const caster = new VoteCaster({
      client,
      electionId: election.id,
      streams: 4,
      window,
      maxOutageMs: Number.POSITIVE_INFINITY, // How long is too long is for `acknowledged` to say.
      signal: new AbortController().signal,
    });
    this.totals = caster.totals;
    this.#finished = caster.cast(this.#votes(secondAttempts));
    this.#finished.catch((error: unknown) => {
      this.#failure = { error };
    });
  }

  /** Resolves when `count` more votes are acknowledged than are now. */
  async acknowledged(count: number): Promise<void> {
    const { ledger } = this.#election;
    const goal = ledger.size + count;
    await until(`${count} more votes are acknowledged`, () => {
      if (this.#failure) throw this.#failure.error;
      return ledger.size >= goal;
    });
  }

  /** Resolves when every vote that was begun has its answer, each second attempt its refusal. */
  async stop(): Promise<CastTotals> {
    this.#stopped = true;
    const totals = await this.#finished;
    expect(totals.refused).toBe(this.#attempts);
    return totals;
  }

  *#votes(secondAttempts: number): Generator<VoteToCast, void, undefined> {
    for (let number = 1; !this.#stopped; number++) {
      const vote = this.#election.ballot();
      if (number % secondAttempts > 0) yield vote;
      else {
        this.#attempts++;
        yield { ...vote, secondAttempt: { ...vote, requestId: `second ${vote.requestId}` } };
      }
    }
  }
}

import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { type TreeSize, treeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type { Logger } from "../telemetry/logger.ts";
import { type Cosignature, cosignaturesOf } from "../tlog/cosignature.ts";
import { parseNote } from "../tlog/note.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import type { PolicyWitness } from "../tlog/witness-policy.ts";
import type { WitnessMetrics } from "./metrics.ts";
import { CHECKPOINT, type PublicLog } from "./public-log.ts";
import type { SignedHead } from "./signed-head.ts";
import { addCheckpoint, WitnessError } from "./witness-client.ts";
import type { Witnessing } from "./witnessing.ts";

export interface CosignedCheckpointOptions extends Omit<Witnessing, "policyText"> {
  readonly publicLog: PublicLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: WitnessMetrics;
  readonly limits?: Partial<WitnessLimits> | undefined;
}

export interface WitnessLimits {
  /** For one request. A witness that takes longer is as good as gone. */
  readonly requestMs: number;
  /** The pause after a failure, which doubles with each further one up to the second. */
  readonly firstBackoffMs: number;
  readonly lastBackoffMs: number;
}

const LIMITS: WitnessLimits = { requestMs: 10_000, firstBackoffMs: 1_000, lastBackoffMs: 60_000 };
/** Requests for one cosignature: with the size we know, with the one it says, and once more if that moved meanwhile. */
const MAX_ATTEMPTS = 3;
/** Proofs of one head that are kept. Witnesses that are right have a few sizes between them. */
const MAX_PROOFS = 64;
/** Before another try at a disk that failed. */
const RETRY_MS = 1_000;

/** A signed head, and the cosignatures of it that have come. */
interface Round {
  readonly head: SignedHead;
  readonly cosignatures: Map<PolicyWitness, Cosignature>;
  /** By the size it is from: a proof is computed once, whoever needs it. */
  readonly proofs: Map<TreeSize, Promise<Hash[]>>;
  /** Whether it has waited as long as a head waits for a quorum. */
  due: boolean;
  /** With how many cosignatures it is shown; −1 while it is not. */
  shown: number;
}

/** What is known of a witness. */
interface Session {
  readonly witness: PolicyWitness;
  readonly url: string;
  /** Of the tree it cosigned last, as far as we know: 0 has it tell. */
  size: TreeSize;
  /** What it is asked for now. There is one request at a time, so that a slow witness skips sizes. */
  busyWith: Round | undefined;
  failures: number;
  /** Set while it is left alone after a failure. */
  pause: NodeJS.Timeout | undefined;
}

/**
 * One log's `checkpoint`, as witnesses cosigned it. It is handed signed heads and returns at once; from then on everything
 * happens beside the signing, and nothing here can hold up a signature, or another election.
 *
 * Heads are taken to the witnesses in rounds. In a round all are asked for the same head, since cosignatures of different
 * heads do not make a quorum; the newest head that came meanwhile is the next one's. A round is over when there is a quorum,
 * or none can come any more, or, unless a quorum is required, its time is up. It is then shown, with what came: later
 * cosignatures are added as long as no newer head is shown. Where a quorum is required, `checkpoint` is never replaced by one
 * that has none.
 *
 * Nothing of this is state. The signer's memory has the note alone; after a crash the head is taken to the witnesses again,
 * who cosign the same tree as often as they are asked.
 */
export class CosignedCheckpoint implements AsyncDisposable {
  readonly #options: CosignedCheckpointOptions;
  readonly #limits: WitnessLimits;
  readonly #sessions: readonly Session[];
  readonly #stop = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #requests = new Set<Promise<void>>();
  /** The newest head that no round was begun for. */
  #next: SignedHead | undefined;
  #round: Round | undefined;
  /** The round whose note is shown, or being written. */
  #shown: Round | undefined;
  #written = Promise.resolve();
  #writeIsWaiting = false;

  constructor(options: CosignedCheckpointOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#sessions = options.policy.witnesses.flatMap((witness) =>
      witness.url === undefined
        ? []
        : [
            {
              witness,
              url: witness.url,
              size: treeSize(0),
              busyWith: undefined,
              failures: 0,
              pause: undefined,
            },
          ],
    );
  }

  /** Takes a signed head to the witnesses, and shows it when its time has come. Heads come in order of size. */
  offer(head: SignedHead): void {
    if (this.#stop.signal.aborted || head.size === this.#round?.head.size) return;
    this.#next = head;
    this.#advance();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all(this.#requests);
    await this.#written;
  }

  #advance(): void {
    const head = this.#next;
    if (!head || this.#stop.signal.aborted || (this.#round && !this.#isOver(this.#round))) return;
    this.#next = undefined;
    const round: Round = { head, cosignatures: new Map(), proofs: new Map(), due: false, shown: -1 };
    const isFirst = this.#round === undefined;
    this.#round = round;
    this.#after(this.#options.timeoutMs, () => {
      round.due = true;
      this.#settle(round);
    });
    this.#track(this.#begin(round, isFirst));
  }

  async #begin(round: Round, isFirst: boolean): Promise<void> {
    // A restart shows no less than was shown before.
    if (isFirst) await this.#takeOverShown(round);
    this.#settle(round);
    this.#askAll();
  }

  /** Takes the cosignatures of this head that are on the disk. */
  async #takeOverShown(round: Round): Promise<void> {
    try {
      const note = await this.#options.publicLog.read(CHECKPOINT);
      if (!note || parseNote(note).text !== parseNote(round.head.note).text) return;
      const found = cosignaturesOf(
        note,
        this.#sessions.map(({ witness }) => witness.verifier),
      );
      for (const { witness } of this.#sessions) {
        const cosignature = found.find(({ witness: { label } }) => label === witness.verifier.label);
        if (cosignature) round.cosignatures.set(witness, cosignature);
      }
    } catch (error) {
      // They come again from those who made them.
      this.#options.logger.warn({ error }, "the cosignatures that were shown could not be read");
    }
  }

  /** Shows a round when its time has come, and begins the next one. */
  #settle(round: Round): void {
    const isQuorate = this.#isQuorate(round);
    const isCurrent = round === this.#round || round === this.#shown;
    if (isCurrent && (isQuorate || (!this.#options.required && this.#isOver(round)))) this.#show(round);
    this.#advance();
  }

  #isQuorate({ cosignatures }: Round): boolean {
    const cosigners = [...cosignatures.keys()].map(({ verifier }) => verifier);
    return this.#options.policy.isSatisfiedBy(cosigners);
  }

  /** Whether nothing is gained by waiting for this round any longer. */
  #isOver(round: Round): boolean {
    if (this.#isQuorate(round)) return true;
    if (round.due && !this.#options.required) return true;
    return !this.#sessions.some((session) => this.#mayCosign(session, round));
  }

  #mayCosign({ witness, busyWith, pause }: Session, round: Round): boolean {
    if (round.cosignatures.has(witness)) return false;
    // One that let an earlier head's time run out is not waited for, unless nothing is shown without it.
    if (busyWith && busyWith !== round) return this.#options.required || !busyWith.due;
    return pause === undefined;
  }

  #askAll(): void {
    for (const session of this.#sessions) this.#ask(session);
  }

  #ask(session: Session): void {
    const round = this.#round;
    if (!round || this.#stop.signal.aborted || session.busyWith || session.pause) return;
    if (round.cosignatures.has(session.witness)) return;
    session.busyWith = round;
    this.#track(this.#submit(session, round));
  }

  async #submit(session: Session, round: Round): Promise<void> {
    const { logger, metrics } = this.#options;
    const { witness } = session;
    const started = performance.now();
    try {
      round.cosignatures.set(witness, await this.#cosign(session, round));
      session.size = round.head.size;
      session.failures = 0;
      metrics.cosignatures.inc({ witness: witness.name });
      metrics.seconds.observe({ witness: witness.name }, (performance.now() - started) / 1000);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const failure = error instanceof WitnessError ? error.failure : "internal";
      metrics.failures.inc({ witness: witness.name, reason: failure });
      const fields = { error, witness: witness.name, size: round.head.size, failure };
      // A witness that is away comes back by itself. One that has seen another tree, or lies, is somebody's to look into.
      if (failure === "unreachable" || failure === "unavailable") {
        logger.warn(fields, `no cosignature: ${messageOf(error)}`);
      } else {
        logger.error(fields, `no cosignature: ${messageOf(error)}`);
      }
      this.#pause(session);
    } finally {
      session.busyWith = undefined;
    }
    this.#settle(round);
    if (this.#round && this.#round !== round) this.#settle(this.#round);
    this.#ask(session);
  }

  #pause(session: Session): void {
    const { firstBackoffMs, lastBackoffMs } = this.#limits;
    const delay = Math.min(lastBackoffMs, firstBackoffMs * 2 ** session.failures);
    session.failures = Math.min(session.failures + 1, 30);
    // All elections of a deployment would otherwise come back to it at the same moment.
    session.pause = this.#after(delay * (0.75 + Math.random() / 2), () => {
      session.pause = undefined;
      this.#ask(session);
    });
  }

  /** The witness's cosignature, from whatever size it has. */
  async #cosign(session: Session, round: Round): Promise<Cosignature> {
    const { head } = round;
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#limits.requestMs)]);
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      const oldSize = session.size;
      if (oldSize > head.size) {
        session.size = treeSize(0);
        throw new WitnessError("inconsistent", `it has seen the log at size ${oldSize}, which is not signed`);
      }
      const { cosignature, size } = await addCheckpoint({
        witness: session.witness.verifier,
        url: session.url,
        oldSize,
        proof: await this.#proof(round, oldSize),
        note: head.note,
        signal,
      });
      if (cosignature) return cosignature;
      if (size === oldSize) {
        throw new WitnessError("inconsistent", `it has another tree of size ${size}`);
      }
      session.size = size;
    }
    throw new WitnessError("bad_answer", "the size that it says it has differs from answer to answer");
  }

  #proof({ head, proofs }: Round, oldSize: TreeSize): Promise<Hash[]> {
    const known = proofs.get(oldSize);
    if (known) return known;
    const reader = new TileReader({ fetch: this.#options.publicLog.read, size: head.size, root: head.root });
    const proof = reader.consistencyProof(oldSize);
    // A witness that names another size each time it is asked must not fill the memory.
    if (proofs.size >= MAX_PROOFS) proofs.clear();
    proofs.set(oldSize, proof);
    // The next one tries again.
    proof.catch(() => proofs.delete(oldSize));
    return proof;
  }

  /** Writes a round's note, after whatever is being written. What comes meanwhile is written with it. */
  #show(round: Round): void {
    if (round.shown === round.cosignatures.size) return;
    if (round.shown < 0) this.#report(round);
    round.shown = round.cosignatures.size;
    this.#shown = round;
    if (this.#writeIsWaiting) return;
    this.#writeIsWaiting = true;
    this.#written = this.#written.then(() => this.#write());
  }

  #report(round: Round): void {
    const isQuorate = this.#isQuorate(round);
    this.#options.metrics.shown.inc({ quorum: isQuorate ? "yes" : "no" });
    if (isQuorate) return;
    const cosigned = [...round.cosignatures.keys()].map(({ name }) => name);
    this.#options.logger.warn({ size: round.head.size, cosigned }, "shown without a quorum of witnesses");
  }

  async #write(): Promise<void> {
    const { publicLog, clock, logger } = this.#options;
    while (!this.#stop.signal.aborted) {
      this.#writeIsWaiting = false;
      const round = this.#shown;
      if (!round) return;
      try {
        await publicLog.show({ ...round.head, note: this.#note(round) });
        return;
      } catch (error) {
        logger.error({ error, size: round.head.size }, "a checkpoint could not be written");
        this.#writeIsWaiting = true;
        await clock.sleep(RETRY_MS, this.#stop.signal);
      }
    }
  }

  /** The log's own note, with the cosignatures in the order of the policy. */
  #note({ head, cosignatures }: Round): string {
    const lines = this.#sessions.map(({ witness }) => cosignatures.get(witness)?.line ?? "");
    return head.note + lines.join("");
  }

  #after(ms: number, run: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }

  #track(work: Promise<void>): void {
    const done = work.finally(() => this.#requests.delete(done));
    this.#requests.add(done);
  }
}

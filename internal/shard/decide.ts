// What becomes of a group of votes: the one-vote rule and the chain, as a function of what the database has.
import { appendVotes, type NewVote } from "../ballot/chain.ts";
import type { Manifest } from "../ballot/manifest.ts";
import type { VoteRecord } from "../ballot/record.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Sequence } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import type {
  Found,
  NewHead,
  NewRecord,
  NumberedElection,
  ShardKey,
  StoredHead,
  VoterKey,
  Writes,
} from "./ports.ts";

/** A vote on its way into its shard. */
export interface PendingVote extends VoterKey {
  readonly sealedChoice: Uint8Array;
  readonly manifest: Manifest;
  /** What the shard's chain begins at. */
  readonly genesis: Hash;
}

/** A vote's place in its shard. */
export interface Recorded {
  readonly outcome: "recorded";
  readonly sequence: Sequence;
  readonly revision: number;
  /** Microseconds since 1970. */
  readonly castAt: number;
  readonly hash: Hash;
}

/** What the caller hears of a vote. AppendOutcome in shard.proto says what each means. */
export type Answer =
  | Recorded
  | { readonly outcome: "already-voted" | "closed" | "unavailable" | "overloaded" };

/** Not committed, or nobody knows: the caller repeats it. */
export const UNAVAILABLE: Answer = { outcome: "unavailable" };

/** New records of one shard. */
export interface Run extends ShardKey {
  readonly manifest: Manifest;
  readonly records: readonly VoteRecord[];
}

export interface Decision {
  /** One a vote, in order. They hold once the writes are committed. */
  readonly answers: readonly Answer[];
  readonly writes: Writes;
  /** The same records, by shard. */
  readonly runs: readonly Run[];
  /** Elections whose number, as these votes have it, is another's or nobody's here; each once. */
  readonly strays: readonly NumberedElection[];
}

/** Votes accepted into one shard, in order. */
interface Draft {
  readonly head: StoredHead;
  readonly manifest: Manifest;
  readonly accepted: Accepted[];
}

/** A vote that gets a record: the last but one step of its answer. */
interface Accepted extends NewVote {
  readonly requestToken: Uint8Array;
  record?: VoteRecord;
}

export function keyOf({ election, shard }: ShardKey): string {
  return `${election}/${shard}`;
}

/** Decides a group under the locks of its heads. Votes of one voter are decided in their order in the group. */
export function decide(votes: readonly PendingVote[], found: Found, nowMicros: number): Decision {
  const group = new GroupDecision(found, nowMicros);
  const verdicts = votes.map((vote, index) => group.judge(vote, index));
  const chained = group.chain();
  return { ...chained, answers: verdicts.map(answerOf) };
}

class GroupDecision {
  readonly #nowMicros: number;
  readonly #heads: ReadonlyMap<string, StoredHead>;
  readonly #known: ReadonlyMap<number, Found["votes"][number]>;
  readonly #strays = new Map<number, NumberedElection>();
  readonly #drafts = new Map<string, Draft>();
  /** What each voter got accepted in this group, which the database does not know yet. */
  readonly #accepted = new Map<string, Accepted[]>();

  constructor(found: Found, nowMicros: number) {
    this.#nowMicros = nowMicros;
    this.#heads = new Map(found.heads.map((head) => [keyOf(head), head]));
    this.#known = new Map(found.votes.map((vote) => [vote.index, vote]));
  }

  judge(vote: PendingVote, index: number): Answer | Accepted {
    const head = this.#heads.get(keyOf(vote));
    // Elections were renumbered behind our back: this head, and a vote that was found, are another election's.
    if (head !== undefined && !equalBytes(head.genesis, vote.genesis)) return this.#astray(vote);

    const voter = voterOf(vote);
    const earlier = this.#accepted.get(voter) ?? [];
    const repeated = earlier.find(({ requestToken }) => equalBytes(requestToken, vote.requestToken));
    if (repeated !== undefined) return repeated;

    const known = this.#known.get(index);
    if (known?.sameRequest) return recorded(known);

    // The election is there and its shard is not: the instance has lost it, or has it under another number. A new chain
    // here would be a fork.
    if (head === undefined) return this.#astray(vote);
    if (head.closed || this.#isOver(vote.manifest, head)) return { outcome: "closed" };

    const revision = (earlier.at(-1)?.revision ?? known?.revision ?? 0) + 1;
    if (revision > 1 && vote.manifest.revoting === "forbidden") return { outcome: "already-voted" };

    const { voterPseudonym, sealedChoice, requestToken } = vote;
    const accepted: Accepted = { voterPseudonym, revision, sealedChoice, requestToken };
    this.#accepted.set(voter, [...earlier, accepted]);
    this.#draft(vote, head).accepted.push(accepted);
    return accepted;
  }

  chain(): Omit<Decision, "answers"> {
    const nowMicros = this.#nowMicros;
    const records: NewRecord[] = [];
    const heads: NewHead[] = [];
    const runs: Run[] = [];
    for (const { head, manifest, accepted } of this.#drafts.values()) {
      const { election, shard } = head;
      const appended = appendVotes(head, accepted, { shards: manifest.shards, nowMicros });
      accepted.forEach((vote, index) => {
        const record = appended.records[index];
        if (record === undefined) throw new TypeError("the chain has fewer records than votes");
        vote.record = record;
        records.push({ ...record, election, requestToken: vote.requestToken });
      });
      heads.push({ ...appended.head, election });
      runs.push({ election, shard, manifest, records: appended.records });
    }
    return { writes: { records, heads }, runs, strays: [...this.#strays.values()] };
  }

  #astray({ election, manifest: { electionId } }: PendingVote): Answer {
    this.#strays.set(election, { election, electionId });
    return UNAVAILABLE;
  }

  /**
   * Whether a record made now would bear a time at which the election takes no votes. VoteService looks at its own
   * clock and turns voters away; this is the clock that the record will show.
   */
  #isOver({ closesAt }: Manifest, head: StoredHead): boolean {
    return closesAt !== null && Math.max(this.#nowMicros, head.castAt) >= closesAt;
  }

  #draft(vote: PendingVote, head: StoredHead): Draft {
    const key = keyOf(vote);
    const known = this.#drafts.get(key);
    if (known !== undefined) return known;
    const draft = { head, manifest: vote.manifest, accepted: [] };
    this.#drafts.set(key, draft);
    return draft;
  }
}

function answerOf(verdict: Answer | Accepted): Answer {
  if ("outcome" in verdict) return verdict;
  if (verdict.record === undefined) throw new TypeError("an accepted vote without a record");
  return recorded(verdict.record);
}

function recorded({ sequence, revision, castAt, hash }: Omit<Recorded, "outcome">): Recorded {
  return { outcome: "recorded", sequence, revision, castAt, hash };
}

/** A voter as a key: the pseudonym's bytes as characters, which is the cheapest string that tells them apart. */
function voterOf({ election, voterPseudonym }: VoterKey): string {
  const { buffer, byteOffset, length } = voterPseudonym;
  return `${election}/${Buffer.from(buffer, byteOffset, length).toString("latin1")}`;
}

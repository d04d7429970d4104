// The election that `psephos start` runs: Vermont 2020, or the first of its ballots for a quick look.
import { type ElectionId, electionId } from "../core/ids.ts";
import { VERMONT_BALLOTS, VERMONT_CHOICES, vermontBallots } from "../demo/vermont-2020.ts";
import type { Count } from "./commands/tally.ts";
import { formatCount, formatTable } from "./terminal.ts";
import type { VoteToCast } from "./vote-caster.ts";

/** One ballot in so many is followed by a second attempt of the same voter. */
const SECOND_ATTEMPTS = 500;

/** The election, or a part of it, which is another election with a name and a result of its own. */
export class DemoElection {
  readonly id: ElectionId;
  readonly title: string;
  readonly choices = VERMONT_CHOICES;
  readonly ballots: number;
  readonly secondAttempts: number;

  constructor(ballots: number = VERMONT_BALLOTS) {
    this.ballots = Math.min(ballots, VERMONT_BALLOTS);
    this.secondAttempts = Math.ceil(this.ballots / SECOND_ATTEMPTS);
    const part = this.isWhole ? "" : `, the first ${formatCount(this.ballots)} ballots`;
    this.title = `President of the United States, Vermont, 3 November 2020${part}`;
    this.id = electionId(this.isWhole ? "vermont-2020" : `vermont-2020-first-${this.ballots}`);
  }

  get isWhole(): boolean {
    return this.ballots === VERMONT_BALLOTS;
  }

  /** Every ballot; one in 500 is followed by its voter's attempt to vote again for somebody else. */
  *votes(): Generator<VoteToCast, void, undefined> {
    let number = 0;
    for (const { voterId, choiceId } of vermontBallots()) {
      if (number === this.ballots) return;
      const vote = { voterId, choiceId, requestId: `ballot ${voterId}` };
      yield number % SECOND_ATTEMPTS === 0 ? { ...vote, secondAttempt: secondAttempt(vote) } : vote;
      number++;
    }
  }

  /** Ballots for each choice, as certified. */
  certified(): number[] {
    const counts = new Map<string, number>();
    for (const { choiceId } of this.votes()) counts.set(choiceId, (counts.get(choiceId) ?? 0) + 1);
    return this.choices.map(({ id }) => counts.get(id) ?? 0);
  }

  /** What was certified, or of a part what was cast, beside what was counted, and whether they are equal. */
  compare({ choices, result }: Count): { readonly matches: boolean; readonly table: string } {
    const certified = this.certified();
    const row = (name: string, expected: number, counted: number) => [
      name,
      formatCount(expected),
      formatCount(counted),
      expected === counted ? "yes" : "NO",
    ];
    const rows = choices.map(({ name }, i) => row(name, certified[i] ?? 0, result.counts[i] ?? 0));
    const all = row("all", this.ballots, result.voters);
    const header = ["choice", this.isWhole ? "certified" : "cast", "counted", "equal"];
    return {
      matches: [...rows, all].every((cells) => cells.at(-1) === "yes"),
      table: formatTable([header, ...rows, all], [1, 2]),
    };
  }
}

/** The same voter again, for the first choice that is not the voter's. */
function secondAttempt({ voterId, choiceId }: VoteToCast): VoteToCast {
  const other = VERMONT_CHOICES.find(({ id }) => id !== choiceId)?.id ?? choiceId;
  return { voterId, choiceId: other, requestId: `second ballot ${voterId}` };
}

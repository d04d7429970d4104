import { readFile } from "node:fs/promises";
import type { Choice } from "../../ballot/manifest.ts";
import { ChoiceOpener } from "../../ballot/opening.ts";
import type { TallyResult } from "../../ballot/tally.ts";
import { combineTallyShares, parseTallyShare } from "../../ballot/trustees.ts";
import type { VerifiedEvidence } from "../../verify/verify-evidence.ts";
import { UsageError } from "../exit-code.ts";
import { formatCount, formatTable } from "../terminal.ts";

export interface Count {
  readonly choices: readonly Choice[];
  readonly result: TallyResult;
}

/** Counts verified records with the trustees' shares. The tally key exists in this process for as long as it takes. */
export async function countVotes(evidence: VerifiedEvidence, shareFiles: readonly string[]): Promise<Count> {
  const { manifest, tally } = evidence;
  const shares = [];
  for (const file of shareFiles) {
    const bytes = await readFile(file).catch((error) => {
      throw new UsageError(`${file} cannot be read`, { cause: error });
    });
    shares.push(parseTallyShare(bytes));
  }
  const privateKey = await combineTallyShares(manifest, shares);
  const opener = await ChoiceOpener.create({ manifest, privateKey });
  return { choices: manifest.choices, result: await tally.count(opener) };
}

export function countJson({ choices, result }: Count): object {
  return {
    counts: Object.fromEntries(choices.map(({ id }, index) => [id, result.counts[index] ?? 0])),
    spoilt: result.spoilt,
    voters: result.voters,
    records: result.records,
  };
}

export function describeCount({ choices, result }: Count): string {
  const rows = choices.map(({ name }, index) => [name, formatCount(result.counts[index] ?? 0)]);
  const spoilt = Object.values(result.spoilt).reduce((sum, votes) => sum + votes, 0);
  return formatTable(
    [
      ["choice", "votes"],
      ...rows,
      ["(spoilt)", formatCount(spoilt)],
      ["all voters", formatCount(result.voters)],
    ],
    [1],
  );
}

/** What was certified beside what was counted, and whether they are equal. */
export function compareWithCertified(count: Count, certified: readonly number[]) {
  const { choices, result } = count;
  const rows = choices.map(({ name }, index) => {
    const [expected, counted] = [certified[index] ?? 0, result.counts[index] ?? 0];
    return [name, formatCount(expected), formatCount(counted), expected === counted ? "yes" : "NO"];
  });
  const total = certified.reduce((sum, votes) => sum + votes, 0);
  const matches =
    result.voters === total && certified.every((votes, index) => votes === result.counts[index]);
  const all = ["all", formatCount(total), formatCount(result.voters), matches ? "yes" : "NO"];
  return { matches, table: formatTable([["choice", "certified", "counted", "equal"], ...rows, all], [1, 2]) };
}

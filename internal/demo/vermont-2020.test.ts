import { describe, expect, test } from "vitest";
import { VERMONT_BALLOTS, VERMONT_CHOICES, VERMONT_TOTALS, vermontBallots } from "./vermont-2020.ts";

describe("the Vermont ballots", () => {
  test("add up to the certified result", () => {
    expect(VERMONT_BALLOTS).toBe(370_968);
    expect(VERMONT_CHOICES).toHaveLength(24);
    expect(Object.fromEntries(VERMONT_CHOICES.map(({ name }, i) => [name, VERMONT_TOTALS[i]]))).toMatchObject(
      {
        "Joseph Biden": 242_820,
        "Donald Trump": 112_704,
        "Jo Jorgensen": 3_608,
        Blanks: 3_262,
        "Write Ins": 1_942,
        "Howie Hawkins": 1_310,
        "Kanye West": 1_269,
        "H. Brooke Paige": 1_175,
        "Christopher LaFontaine": 856,
        Spoiled: 278,
        "Zachary Scalf": 29,
      },
    );
  });

  test("come once each, every voter with one, and mixed over counties", () => {
    const counts = new Map<string, number>();
    const voters = new Set<string>();
    const firstCounties = new Set<string>();
    for (const { voterId, choiceId } of vermontBallots()) {
      voters.add(voterId);
      counts.set(choiceId, (counts.get(choiceId) ?? 0) + 1);
      if (voters.size <= 200) firstCounties.add(voterId.replace(/-\d+$/, ""));
    }
    expect(voters.size).toBe(370_968);
    expect(VERMONT_CHOICES.map(({ id }) => counts.get(id) ?? 0)).toEqual(VERMONT_TOTALS);
    expect(firstCounties.size).toBeGreaterThanOrEqual(12);
  });
});

// The ballots of the US presidential election of 2020-11-03 in Vermont, as certified, by county and choice.
// Source: OpenElections, openelections-data-vt, 2020/20201103__vt__general__precinct.csv, office President.

/** The choices in the order of the columns below. Blank, written-in and spoiled ballots are choices here as there. */
export const VERMONT_CHOICES: readonly { readonly id: string; readonly name: string }[] = [
  "Joseph Biden",
  "Donald Trump",
  "Jo Jorgensen",
  "Blanks",
  "Write Ins",
  "Howie Hawkins",
  "Kanye West",
  "H. Brooke Paige",
  "Christopher LaFontaine",
  "Spoiled",
  "Richard Duncan",
  "Brian Carroll",
  "Don Blankenship",
  "Alyson Kennedy",
  "Gloria Lariva",
  "Gary Swing",
  "Phil Collins",
  "Keith McCormic",
  "Brock Pierce",
  "Jerome Segal",
  "Blake Huber",
  "Kyle Kenley Kopitke",
  'Roque "Rocky" De La Fuente',
  "Zachary Scalf",
].map((name) => ({ id: choiceIdOf(name), name }));

// biome-ignore format: a table reads as a table
const COUNTIES: readonly (readonly [county: string, ...ballots: number[]])[] = [
  ["Addison",    14967,  6292, 243, 167, 138,  69,  67,  75,  54, 23, 19, 14, 15, 13,  9,  6, 10, 10,  3, 3, 7,  4,  2, 2],
  ["Bennington", 12705,  7114, 200, 153,  78,  72,  68,  66,  65, 25, 11, 10,  7, 12,  7,  7, 10, 11,  6, 3, 4,  1,  1, 4],
  ["Caledonia",   9011,  6551, 167, 145,  83,  66,  52,  80,  61, 20, 19, 11, 16,  4,  8,  4,  7,  5,  1, 9, 2,  5,  4, 3],
  ["Chittenden", 74961, 21017, 882, 914, 546, 372, 362, 219, 148, 30, 39, 55, 40, 47, 52, 35, 29, 24, 37, 9, 9, 11, 17, 4],
  ["Essex",       1405,  1773,  40,  27,  18,   7,   8,  14,   4,  2,  4,  0,  3,  1,  1,  1,  2,  3,  1, 1, 1,  0,  1, 0],
  ["Franklin",   13611, 11274, 335, 235, 140,  59,  96, 120,  66, 19, 20, 24, 16, 15,  6,  9, 11,  5,  5, 4, 5,  6,  2, 1],
  ["Grand Isle",  2905,  1810,  35,  60,  34,  12,  13,  12,  11,  1,  3,  1,  4,  1,  0,  1,  1,  2,  2, 0, 3,  1,  0, 0],
  ["Lamoille",   10240,  4163, 168, 165,  71,  44,  60,  56,  43, 12, 11,  6,  9,  6,  9,  7,  6,  3,  3, 1, 5,  0,  3, 1],
  ["Orange",     10304,  6187, 162, 196,  94,  57,  78,  73,  49,  9, 16, 13,  9, 17, 11,  7, 16,  8,  6, 8, 2,  0,  2, 3],
  ["Orleans",     7147,  6512, 133,  96,  73,  35,  34,  51,  45, 23,  7,  5,  8,  8,  8,  6,  6,  5,  3, 4, 2,  1,  2, 1],
  ["Rutland",    18230, 14672, 339, 299, 151,  84, 127, 139,  84, 23, 18, 22, 20, 15, 12, 13, 10, 16,  4, 2, 2,  5,  2, 3],
  ["Washington", 25191,  8928, 334, 342, 198, 166, 133, 112,  85, 46, 12, 12, 26, 18, 11, 14, 14, 12, 12, 10, 3, 6,  6, 4],
  ["Windham",    14610,  5924, 230, 181, 102, 105,  67,  65,  53, 24, 10, 15, 10,  9,  8, 18,  3,  9,  3, 6, 3,  7,  3, 2],
  ["Windsor",    27533, 10487, 340, 282, 216, 162, 104,  93,  88, 21, 24, 21, 25, 29, 24, 13, 12, 13, 14, 5, 6,  6,  3, 1],
];

/** Ballots for each choice over all counties. */
export const VERMONT_TOTALS: readonly number[] = VERMONT_CHOICES.map((_, choice) =>
  COUNTIES.reduce((total, [, ...ballots]) => total + (ballots[choice] ?? 0), 0),
);

/** How many ballots were cast: 370,968. */
export const VERMONT_BALLOTS = VERMONT_TOTALS.reduce((total, ballots) => total + ballots, 0);

export interface Ballot {
  /** Made up: who cast which ballot is not known, and must not be. */
  readonly voterId: string;
  readonly choiceId: string;
}

/** A stride without a common factor with the number of ballots visits each once, and mixes counties and choices. */
const STRIDE = 104_729;

/** Every ballot once, in an order that is mixed over counties and always the same. */
export function* vermontBallots(): Generator<Ballot, void, undefined> {
  const ballots = inTableOrder();
  for (let i = 0; i < ballots.length; i++) {
    const ballot = ballots[(i * STRIDE) % ballots.length];
    if (ballot) yield ballot;
  }
}

function inTableOrder(): Ballot[] {
  const ballots: Ballot[] = [];
  for (const [county, ...counts] of COUNTIES) {
    let voter = 0;
    counts.forEach((count, choice) => {
      const choiceId = VERMONT_CHOICES[choice]?.id ?? "";
      for (let i = 0; i < count; i++) ballots.push({ voterId: `${choiceIdOf(county)}-${++voter}`, choiceId });
    });
  }
  return ballots;
}

/** A name as an id: "H. Brooke Paige" is "h-brooke-paige". */
export function choiceIdOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}

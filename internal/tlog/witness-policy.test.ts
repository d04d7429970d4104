import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { CosignatureSigner } from "./cosignature.ts";
import { TlogError } from "./errors.ts";
import { NoteSigner } from "./note.ts";
import { NoteVerifier } from "./note-verifier.ts";
import { anyText, attempt } from "./test-fuzz.ts";
import { MAX_POLICY_BYTES, parseWitnessPolicy } from "./witness-policy.ts";

const keys = Array.from({ length: 66 }, (_, index) => {
  const seed = new Uint8Array(32).fill(index + 1);
  return CosignatureSigner.fromSeed(`w${index}.example`, seed).verifierKey;
});
const [A = "", B = "", C = "", D = ""] = keys;
const logKey = (seed: number) =>
  NoteSigner.fromSeed("log.example", new Uint8Array(32).fill(seed)).verifierKey;
const LOG = logKey(100);
const parse = (text: string) => parseWitnessPolicy(utf8(text));
const verifiers = (...chosen: string[]) => chosen.map((key) => NoteVerifier.parse(key));

/** The specification's example, with two levels of groups. */
const EXAMPLE = `# a comment
log ${LOG} https://log.example/
  # another
witness X1 ${A} https://x1.example/w/
witness\tX2   ${B}\t
witness X3 ${C}
group X-witnesses 2 X1 X2 X3

witness Y1 ${D} http://127.0.0.1:7380
group Y-witnesses any Y1
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

describe("a policy", () => {
  test("is read line by line", () => {
    const policy = parse(EXAMPLE);
    expect(policy.logs.map(({ verifier, url }) => [`${verifier}`, url])).toEqual([
      [LOG, "https://log.example"],
    ]);
    expect(policy.witnesses.map(({ name, verifier, url }) => [name, `${verifier}`, url])).toEqual([
      ["X1", A, "https://x1.example/w"],
      ["X2", B, undefined],
      ["X3", C, undefined],
      ["Y1", D, "http://127.0.0.1:7380"],
    ]);
    expect(policy.quorum).toBe("X-and-Y");
  });

  test("is satisfied by a quorum, and by no less", () => {
    const policy = parse(EXAMPLE);
    expect(policy.isSatisfiedBy(verifiers(A, C, D))).toBe(true);
    expect(policy.isSatisfiedBy(verifiers(A, B, C, D))).toBe(true);
    expect(policy.isSatisfiedBy(verifiers(A, B, C))).toBe(false);
    expect(policy.isSatisfiedBy(verifiers(A, D))).toBe(false);
    // One key often is one witness, and a stranger none.
    expect(policy.isSatisfiedBy(verifiers(A, A, D))).toBe(false);
    expect(policy.isSatisfiedBy(verifiers(A, D, keys[5] ?? ""))).toBe(false);
    expect(policy.isSatisfiedBy([])).toBe(false);
  });

  test("that names one witness, or none", () => {
    const single = parse(`witness a ${A}\nwitness b ${B}\nquorum b\n`);
    expect(single.isSatisfiedBy(verifiers(B))).toBe(true);
    expect(single.isSatisfiedBy(verifiers(A))).toBe(false);
    expect(parse("quorum none\n").isSatisfiedBy([])).toBe(true);
    expect(parse(`witness a ${A}\nquorum none\n`).isSatisfiedBy([])).toBe(true);
  });

  test("takes names beyond ASCII, and tells them apart by their bytes", () => {
    const kelvin = parse(`witness K ${A}\nwitness \u212a ${B}\nquorum \u212a\n`);
    expect(kelvin.isSatisfiedBy(verifiers(A))).toBe(false);
    expect(kelvin.isSatisfiedBy(verifiers(B))).toBe(true);
  });

  test("has room for 64 witnesses", () => {
    const lines = keys.slice(0, 64).map((key, index) => `witness w${index} ${key}\n`);
    expect(parse(`${lines.join("")}quorum w63\n`).witnesses.length).toBe(64);
  });
});

test.each([
  ["no quorum line", `witness a ${A}\n`, "has no quorum line"],
  ["nothing", "", "does not end with a newline"],
  ["a cut-off last line", EXAMPLE.slice(0, -3), "does not end with a newline"],
  ["two quorums", `witness a ${A}\nquorum a\nquorum a\n`, "line 3 of the policy: there are two quorum lines"],
  ["a quorum that is not defined", "quorum a\n", 'line 1 of the policy: "a" is not defined above'],
  ["a quorum before its witness", `quorum a\nwitness a ${A}\n`, "line 1"],
  ["a group of a later witness", `group g any a\nwitness a ${A}\nquorum g\n`, "line 1"],
  ["a group in itself", "group g any g\nquorum g\n", '"g" is not defined above'],
  ["none in a group", "group g any none\nquorum g\n", '"none" is not defined above'],
  ["none as a name", `witness none ${A}\nquorum none\n`, '"none" has a meaning already'],
  ["a name twice", `witness a ${A}\nwitness a ${B}\nquorum a\n`, '"a" is defined twice'],
  ["a witness's name for a group", `witness a ${A}\ngroup a any a\nquorum a\n`, '"a" is defined twice'],
  ["a member twice", `witness a ${A}\ngroup g 2 a a\nquorum g\n`, "member of a group already"],
  [
    "a member of two groups",
    `witness a ${A}\ngroup g any a\ngroup h any a g\nquorum h\n`,
    "member of a group already",
  ],
  ["no members", `witness a ${A}\ngroup g any\nquorum g\n`, "a group line is"],
  ["a threshold of 0", `witness a ${A}\ngroup g 0 a\nquorum g\n`, "a number from 1 to 1"],
  ["a threshold above", `witness a ${A}\ngroup g 2 a\nquorum g\n`, "a number from 1 to 1"],
  ["a threshold with a zero", `witness a ${A}\ngroup g 01 a\nquorum g\n`, "a number from 1 to 1"],
  ["a key twice", `witness a ${A}\nwitness b ${A}\nquorum a\n`, "two witness lines have the key"],
  ["a log's key as a witness", `witness a ${LOG}\nquorum a\n`, "is not a witness's"],
  ["a witness's key as a log", `log ${A}\nquorum none\n`, "is not a log's"],
  ["a log twice", `log ${LOG}\nlog ${LOG}\nquorum none\n`, "two log lines have the key"],
  ["a broken key", `witness a ${A.slice(0, -2)}\nquorum a\n`, "not a verifier key"],
  ["another keyword", "witnesses a\nquorum none\n", '"witnesses" is not log, witness, group or quorum'],
  ["a keyword in capitals", "Quorum none\n", '"Quorum" is not'],
  ["too much on a line", `witness a ${A} https://a.example b\nquorum a\n`, "a witness line is"],
  ["a comment behind a quorum", "quorum none # really\n", "a quorum line is"],
  ["a URL of another kind", `witness a ${A} file:///etc/passwd\nquorum a\n`, "a URL is http or https"],
  ["a URL with a password", `witness a ${A} https://u:p@a.example\nquorum a\n`, "a URL is http or https"],
  ["a carriage return", "quorum none\r\n", "the control character 13"],
  ["a zero byte", "quorum none\0\n", "the control character 0"],
  [
    "65 witnesses",
    keys
      .slice(0, 65)
      .map((key, i) => `witness w${i} ${key}\n`)
      .join(""),
    "more than 64 witnesses",
  ],
  ["a file over the limit", `#${"a".repeat(MAX_POLICY_BYTES)}\n`, "longer than"],
])("refused: %s", (_, text, why) => {
  expect(() => parse(text)).toThrow(TlogError);
  expect(() => parse(text)).toThrow(why);
});

test("bytes that are not UTF-8 are refused", () => {
  expect(() => parseWitnessPolicy(Uint8Array.of(0x23, 0xff, 0x0a))).toThrow("a policy is not UTF-8");
});

test("a policy with any line less is refused, or asks for no less", () => {
  const lines = EXAMPLE.split("\n").slice(0, -1);
  for (let less = 0; less < lines.length; less++) {
    const text = `${lines.filter((_, index) => index !== less).join("\n")}\n`;
    const policy = attempt(() => parse(text));
    if (policy) expect(policy.isSatisfiedBy(verifiers(A, B, C)), `without line ${less + 1}`).toBe(false);
  }
});

test("more cosignatures never satisfy less", () => {
  const policy = parse(EXAMPLE);
  const all = verifiers(A, B, C, D);
  fc.assert(
    fc.property(fc.subarray(all), fc.subarray(all), (some, more) => {
      return !policy.isSatisfiedBy(some) || policy.isSatisfiedBy([...some, ...more]);
    }),
  );
});

test("whatever is read, the answer is a policy or a TlogError", () => {
  const token = fc.constantFrom(
    "log ",
    "witness ",
    "group ",
    "quorum ",
    "a ",
    "b ",
    "any ",
    "2 ",
    "none",
    A,
    LOG,
    "\n",
  );
  const input = fc.oneof(
    anyText(),
    fc.array(token, { maxLength: 16 }).map((tokens) => tokens.join("")),
  );
  fc.assert(
    fc.property(input, (text) => {
      attempt(() => parse(text));
    }),
    { numRuns: 500 },
  );
});

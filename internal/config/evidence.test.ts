import { describe, expect, test } from "vitest";
import { evidenceConfig } from "./evidence.ts";

/** The paths and messages of what is wrong. */
function mistakes(value: unknown): string[] {
  const { error } = evidenceConfig.safeParse(value);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join(".") || "(all)"}: ${message}`).sort();
}

const bucket = { bucket: "psephos-evidence" };

test("a directory is kept for ten years unless said otherwise", () => {
  expect(evidenceConfig.parse({ directory: "e" })).toEqual({
    directory: "e",
    retention_days: 3_653,
    layout: "segments",
  });
  expect(evidenceConfig.parse({ directory: "e", retention_days: 1, layout: "object-per-vote" })).toEqual({
    directory: "e",
    retention_days: 1,
    layout: "object-per-vote",
  });
});

test("a bucket is locked with COMPLIANCE for ten years unless said otherwise", () => {
  expect(evidenceConfig.parse({ s3: bucket })).toEqual({
    s3: {
      ...bucket,
      region: "us-east-1",
      prefix: "",
      retention: { mode: "COMPLIANCE", days: 3_653 },
    },
    layout: "segments",
  });
});

test("what was read can be written and read again", () => {
  const s3 = {
    ...bucket,
    endpoint: "https://localhost:9000",
    region: "eu-central-1",
    prefix: "2026/november",
    ca: "ca.crt",
    credentials: { access_key_id: "me", secret_access_key_file: "secret" },
    path_style: false,
    retention: { mode: "GOVERNANCE", days: 7 },
  };
  for (const value of [
    { s3, layout: "object-per-vote" },
    { directory: "e", retention_days: 2 },
  ]) {
    const read = evidenceConfig.parse(value);
    expect(evidenceConfig.parse(JSON.parse(JSON.stringify(read)))).toEqual(read);
    expect(read).toMatchObject(value);
  }
});

describe("refused, with every mistake:", () => {
  test.each([
    ["neither", {}, ["(all): must have either directory or s3"]],
    ["both", { directory: "e", s3: bucket }, ["(all): must have either directory or s3"]],
    [
      "a bucket with a directory's retention",
      { s3: bucket, retention_days: 3 },
      ["retention_days: is of a directory; a bucket's is s3.retention"],
    ],
    [
      "an empty prefix part",
      { s3: { ...bucket, prefix: "a//b" } },
      [expect.stringMatching(/^s3\.prefix: must be/)],
    ],
    [
      "a prefix that begins with a slash",
      { s3: { ...bucket, prefix: "/a" } },
      [expect.stringMatching(/^s3\.prefix/)],
    ],
    [
      "an s3 address",
      { s3: { ...bucket, endpoint: "s3://b" } },
      [expect.stringMatching(/^s3\.endpoint: must be http/)],
    ],
    [
      "credentials with two names",
      {
        s3: {
          ...bucket,
          credentials: { access_key_id: "a", access_key_id_file: "b", secret_access_key_file: "c" },
        },
      },
      ["s3.credentials: must have either access_key_id or access_key_id_file"],
    ],
    [
      "a secret in the configuration",
      { s3: { ...bucket, credentials: { access_key_id: "a", secret_access_key: "hush" } } },
      [
        expect.stringMatching(/^s3\.credentials\.secret_access_key_file: /),
        expect.stringMatching(/^s3\.credentials: Unrecognized key/),
      ],
    ],
    [
      "many",
      {
        directory: "",
        s3: { bucket: "Loud", retention: { mode: "NONE", days: 0 }, credentials: {}, more: 1 },
        layout: "files",
      },
      [
        "(all): must have either directory or s3",
        "directory: must be the path of a file",
        expect.stringMatching(/^layout: /),
        "s3.bucket: must be the name of a bucket",
        expect.stringMatching(/^s3\.credentials\.secret_access_key_file: /),
        "s3.credentials: must have either access_key_id or access_key_id_file",
        expect.stringMatching(/^s3\.retention\.days: /),
        expect.stringMatching(/^s3\.retention\.mode: /),
        expect.stringMatching(/^s3: Unrecognized key/),
      ],
    ],
    ["nothing of the kind", 7, [expect.stringMatching(/^\(all\): /)]],
  ])("%s", (_, value, wanted) => {
    expect(mistakes(value)).toEqual(wanted);
    // The messages are shown to operators, and logged.
    expect(mistakes(value).join()).not.toContain("hush");
  });
});

test.each(["", "a", "a/", "2026/november", "a.b_c-d/e"])("%j is a prefix", (prefix) => {
  expect(mistakes({ s3: { ...bucket, prefix } })).toEqual([]);
});

// The bucket policy of an evidence store, as JSON: docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html.
//
// It denies, to everybody, what evidence never needs. Object Lock keeps locked versions by itself; this also keeps
// anybody from hiding them under delete markers, and what is locked in GOVERNANCE mode from who may bypass that.
//
// s3:PutObjectRetention is not denied: a PUT with a lock needs it (S3 User Guide, "Managing Object Lock"), and without
// the right to bypass it can only make retention longer.

export interface Statement {
  readonly Sid?: string;
  readonly Effect: string;
  readonly Principal?: unknown;
  readonly Action?: string | readonly string[] | undefined;
  readonly Resource?: string | readonly string[] | undefined;
  readonly Condition?: unknown;
  /** Others' statements may have more. */
  readonly [key: string]: unknown;
}

/** Statement ids are letters and digits alone. */
const OURS = "PsephosEvidence";

export function evidenceStatements(bucket: string): readonly Statement[] {
  const itself = `arn:aws:s3:::${bucket}`;
  const objects = `${itself}/*`;
  const deny = (name: string, actions: readonly string[], resources: readonly string[]): Statement => ({
    Sid: `${OURS}${name}`,
    Effect: "Deny",
    Principal: "*",
    Action: actions,
    Resource: resources,
  });
  return [
    deny("NoDelete", ["s3:DeleteObject", "s3:DeleteObjectVersion"], [objects]),
    deny("NoUnlock", ["s3:BypassGovernanceRetention", "s3:PutObjectLegalHold"], [objects]),
    {
      ...deny("NoPlainText", ["s3:*"], [itself, objects]),
      Condition: { Bool: { "aws:SecureTransport": "false" } },
    },
  ];
}

/** The statements of a policy document; none of undefined. Throws a SyntaxError unless it is JSON. */
export function statementsOf(policy: string | undefined): readonly Statement[] {
  if (policy === undefined || policy === "") return [];
  const { Statement: statements = [] }: { Statement?: Statement | readonly Statement[] } = JSON.parse(policy);
  return isList(statements) ? statements : [statements];
}

/** Whether all of `wanted` are among `there`, however the server has rewritten them. */
export function hasStatements(there: readonly Statement[], wanted: readonly Statement[]): boolean {
  const known = new Set(there.map(normalForm));
  return wanted.every((statement) => known.has(normalForm(statement)));
}

/** A policy with ours beside everybody else's, which stay as they are. */
export function policyWith(there: readonly Statement[], wanted: readonly Statement[]): string {
  const forms = new Set(wanted.map(normalForm));
  const others = there.filter(
    (statement) => !statement.Sid?.startsWith(OURS) && !forms.has(normalForm(statement)),
  );
  return JSON.stringify({ Version: "2012-10-17", Statement: [...others, ...wanted] });
}

/** Servers write one action as a string or a list, everybody as "*" or {"AWS": "*"}, drop ids, and change the order. */
function normalForm({
  Effect: effect,
  Principal: principal,
  Action,
  Resource,
  Condition,
}: Statement): string {
  return JSON.stringify([effect, normal(principal), list(Action), list(Resource), normal(Condition ?? {})]);
}

function normal(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return list(value);
  if (isList(value)) return list(value);
  const entries = Object.entries(value).map(([key, inner]) => [key, normal(inner)] as const);
  // Everybody of all AWS accounts, and everybody: in a bucket policy, the same.
  const [only] = entries;
  if (entries.length === 1 && only?.[0] === "AWS") return only[1];
  return entries.sort(([a], [b]) => (a < b ? -1 : 1));
}

function list(value: unknown): string[] {
  if (value === undefined) return [];
  return (isList(value) ? value : [value]).map(String).sort();
}

/** Array.isArray() makes `any[]` of unknown, and does not see read-only arrays. */
function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

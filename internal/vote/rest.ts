// POST /api/v1/votes: one vote for callers that know HTTP and nothing else.
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { CastVoteRequestSchema } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { type FieldViolation, invalidField } from "../core/errors.ts";
import { promiseFile } from "../receipt/promise.ts";
import type { VoteCaster } from "./cast.ts";
import { idProblem, invalidFields } from "./validation.ts";

export const VOTES_PATH = "/api/v1/votes";
/** Three ids of 256 bytes, each byte written as \u00XX, and the rest. */
export const MAX_VOTE_BYTES = 8 * 1024;

const IDEMPOTENCY_KEY = "Idempotency-Key";
const FIELDS = ["election_id", "voter_id", "candidate_id"] as const;
type VoteFields = Readonly<Record<(typeof FIELDS)[number], string>>;

/** A request with a JSON body, as the HTTP edge hands it over. */
export interface RestCall {
  /** Any value that JSON can express. */
  readonly body: unknown;
  /** A header by its lower-case name. */
  header(name: string): string | undefined;
}

export interface RestReply {
  readonly status: 201;
  readonly body: {
    readonly vote_id: number;
    readonly status: "recorded";
    /** The promise as a file, in an election with promises. */
    readonly promise?: string;
  };
}

/** Records the vote that the call describes. Rejects with a ServiceError. */
export async function castOverRest(caster: VoteCaster, call: RestCall): Promise<RestReply> {
  const fields = voteFields(call.body);
  const { voteId, promise } = await caster.cast(
    create(CastVoteRequestSchema, {
      electionId: fields.election_id,
      voterId: fields.voter_id,
      requestId: requestId(call),
      choice: { case: "candidateId", value: fields.candidate_id },
    }),
  );
  // Vote ids stay below 2^53 (core/ids.ts), so that JSON's numbers hold them.
  const body = { vote_id: Number(voteId), status: "recorded" } as const;
  return { status: 201, body: promise ? { ...body, promise: promiseFile(promise) } : body };
}

/**
 * The key by which a retry is known (draft-ietf-httpapi-idempotency-key-header). A call without one cannot be retried:
 * the voter's second vote would be refused, or count as another revision.
 */
function requestId(call: RestCall): string {
  const key = call.header(IDEMPOTENCY_KEY.toLowerCase());
  if (key === undefined) return randomUUID();
  const problem = idProblem(key) ?? (/^[\x21-\x7e]+$/.test(key) ? undefined : "must be visible ASCII");
  if (problem !== undefined) throw invalidField(IDEMPOTENCY_KEY, problem);
  return key;
}

/** Exactly the three fields, all strings. What else was sent is not repeated: it may be an id in the wrong place. */
function voteFields(body: unknown): VoteFields {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw invalidFields([{ field: "body", description: "must be an object" }]);
  }
  const problems: FieldViolation[] = [];
  const members = new Map<string, unknown>(Object.entries(body));
  for (const field of FIELDS) {
    const value = members.get(field);
    if (value === undefined) problems.push({ field, description: "is missing" });
    else if (typeof value !== "string") problems.push({ field, description: "must be a string" });
    members.delete(field);
  }
  if (members.size > 0)
    problems.push({ field: "body", description: `must have no keys but ${FIELDS.join(", ")}` });
  if (problems.length > 0) throw invalidFields(problems);
  // Each of the fields was found to be a string above.
  return body as VoteFields;
}

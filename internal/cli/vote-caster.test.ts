import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { CastVotesResponseSchema } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { ServiceError } from "../core/errors.ts";
import { statusOf } from "../grpc/status.ts";
import { type CastTotals, VoteCaster, type VoteCasterOptions, type VoteToCast } from "./vote-caster.ts";

// A service that answers as a test says. Real ones are in internal/integration.

interface Request {
  readonly stream: number;
  readonly voterId: string;
  readonly requestId: string;
}

/** "recorded", the error of one vote, or "break": the stream ends with an error before this vote is answered. */
type Answer = "recorded" | "break" | "end" | ServiceError;

function serviceOf(answerTo: (request: Request) => Answer) {
  const requests: Request[] = [];
  let streams = 0;
  const client: VoteCasterOptions["client"] = {
    async *castVotes(messages, options) {
      const stream = ++streams;
      for await (const { id = 0n, vote } of messages) {
        options?.signal?.throwIfAborted();
        const request = { stream, voterId: vote?.voterId ?? "", requestId: vote?.requestId ?? "" };
        requests.push(request);
        const answer = answerTo(request);
        if (answer === "end") return;
        if (answer === "break") throw new ServiceError("unavailable", "the stream broke");
        yield create(CastVotesResponseSchema, {
          id,
          outcome:
            answer === "recorded"
              ? { case: "vote", value: { voteId: 1n } }
              : { case: "error", value: statusOf(answer) },
        });
      }
    },
  };
  return { client, requests };
}

const alreadyVoted = new ServiceError("already-exists", "has voted", { reason: "ALREADY_VOTED" });

function votes(count: number): VoteToCast[] {
  return Array.from({ length: count }, (_, i) => ({ voterId: `v${i}`, choiceId: "a", requestId: `r${i}` }));
}

function cast(
  client: VoteCasterOptions["client"],
  list: Iterable<VoteToCast>,
  options: Partial<VoteCasterOptions> = {},
): Promise<CastTotals> {
  const { signal } = new AbortController();
  return new VoteCaster({ client, electionId: "e", streams: 3, window: 5, signal, ...options }).cast(list);
}

describe("casting", () => {
  test("answers for every vote once, over all streams", async () => {
    const { client, requests } = serviceOf(() => "recorded");
    expect(await cast(client, votes(100))).toEqual({ recorded: 100, refused: 0, retried: 0 });
    expect(new Set(requests.map(({ voterId }) => voterId)).size).toBe(100);
    expect(await cast(client, [])).toEqual({ recorded: 0, refused: 0, retried: 0 });
  });

  test("sends a second attempt after the first is recorded, and counts its refusal", async () => {
    const { client, requests } = serviceOf(({ requestId }) =>
      requestId.startsWith("second") ? alreadyVoted : "recorded",
    );
    const list = votes(20).map((vote) => ({
      ...vote,
      secondAttempt: { ...vote, requestId: `second ${vote.requestId}` },
    }));
    expect(await cast(client, list)).toEqual({ recorded: 20, refused: 20, retried: 0 });
    for (const { voterId, requestId } of list) {
      const mine = requests.filter((request) => request.voterId === voterId);
      expect(mine.map((request) => request.requestId)).toEqual([requestId, `second ${requestId}`]);
    }
  });

  test("sends again what a broken stream did not answer, with the same request id", async () => {
    for (const how of ["break", "end"] as const) {
      let breaks = 0;
      const { client, requests } = serviceOf(() => (breaks++ % 40 === 7 ? how : "recorded"));
      const totals = await cast(client, votes(100), { streams: 1 });
      expect(totals.recorded).toBe(100);
      expect(totals.retried).toBeGreaterThan(0);
      expect(new Set(requests.map(({ requestId }) => requestId)).size).toBe(100);
      expect(requests.at(-1)?.stream).toBeGreaterThan(1);
    }
  });

  test("tries a vote again that could not be taken, after the delay it was told", async () => {
    const busy = new ServiceError("resource-exhausted", "busy", { retryDelayMs: 50 });
    let first: number | undefined;
    const { client } = serviceOf(({ voterId }) => {
      if (voterId !== "v3") return "recorded";
      first ??= performance.now();
      return performance.now() - first < 40 ? busy : "recorded";
    });
    expect(await cast(client, votes(10))).toEqual({ recorded: 10, refused: 0, retried: 1 });
  });

  test("ends with the first error that no retry mends, on all streams", async () => {
    const closed = new ServiceError("failed-precondition", "the election is closed", { reason: "CLOSED" });
    const { client, requests } = serviceOf(({ voterId }) => (voterId === "v50" ? closed : "recorded"));
    await expect(cast(client, votes(10_000))).rejects.toMatchObject({ reason: "CLOSED" });
    const sent = requests.length;
    expect(sent).toBeLessThan(1_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(requests).toHaveLength(sent);
  });

  test("gives up when nothing is answered for too long", async () => {
    const { client } = serviceOf(() => "break");
    await expect(cast(client, votes(10), { maxOutageMs: 500 })).rejects.toThrow("the stream broke");
    const ending = serviceOf(() => "end");
    await expect(cast(ending.client, votes(10), { maxOutageMs: 500 })).rejects.toThrow(/without an answer/);
  });

  test("stops when it is told to", async () => {
    const controller = new AbortController();
    let answered = 0;
    const { client } = serviceOf(() => {
      if (++answered === 30) controller.abort(new Error("enough"));
      return "recorded";
    });
    await expect(cast(client, votes(1_000_000), { signal: controller.signal })).rejects.toThrow("enough");
    expect(answered).toBeLessThan(1_000);
  });
});

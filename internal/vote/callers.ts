// Who may call what, at the gRPC edge and at the HTTP edge alike.
import type { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import type { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import type { CallerPolicy } from "../grpc/identity.ts";

const readers = ["client/*", "operator/*", "auditor/*"] as const;

/** Operators run elections; they do not vote in them. */
export const voteCallers: CallerPolicy<typeof VoteService> = {
  castVote: ["client/*"],
  castVotes: ["client/*"],
  getVote: readers,
};

export const electionCallers: CallerPolicy<typeof ElectionService> = {
  createElection: ["operator/*"],
  closeElection: ["operator/*"],
  getElection: readers,
  listElections: readers,
  getPromiseKey: readers,
};

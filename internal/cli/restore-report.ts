// What `psephos restore` says.
import type { RestoredElection } from "../restore/load-election.ts";
import type { ElectionPlan } from "../restore/plan-election.ts";
import type { RestoreResult } from "../restore/restore.ts";
import { formatCount, formatTable } from "./terminal.ts";

/** An election that is verified and not written yet. */
export function describePlan({ evidence, log, target, checkpoint, publisher }: ElectionPlan): string[] {
  const { electionId } = evidence;
  const votes = log.heads.reduce((sum, { sequence }) => sum + sequence, 0);
  const there = log.heads.reduce((sum, { shard }) => sum + target.recordsOf(shard), 0);
  const lines = [
    `${electionId}: ${formatCount(votes)} votes in ${formatCount(log.size)} log entries verify; the election is ` +
      `${log.closed ? "closed" : "not closed"}`,
    checkpoint
      ? `${electionId}: the evidence has all ${formatCount(checkpoint.size)} entries of the public checkpoint`
      : `${electionId}: NOT CHECKED against any public checkpoint: nothing shows that the evidence is complete`,
  ];
  if (there > 0)
    lines.push(`${electionId}: the databases have ${formatCount(there)} of these votes, the same ones`);
  if (target.unsealed > 0) {
    lines.push(`${electionId}: they have ${formatCount(target.unsealed)} more, not sealed yet, which stay`);
  }
  if (publisher) lines.push(`${electionId}: files of the Publisher are made again`);
  return lines;
}

export function resultJson(result: RestoreResult): object {
  const { elections, verifySeconds, loadSeconds } = result;
  const seconds = verifySeconds + loadSeconds;
  return {
    elections: elections.map(electionJson),
    votes: votesOf(elections),
    seconds: round(seconds),
    verify_seconds: round(verifySeconds),
    load_seconds: round(loadSeconds),
    votes_per_second: Math.round(votesOf(elections) / seconds),
  };
}

function electionJson(one: RestoredElection): object {
  return {
    election_id: one.electionId,
    number: one.number,
    state: one.state,
    votes: one.votes,
    votes_written: one.written,
    unsealed_votes_found: one.unsealed,
    log_size: one.logSize,
    checkpoint_size: one.checkpointSize ?? null,
    newest_sealed: one.sealed,
    publisher_files: one.publisherFiles,
  };
}

export function describeResult(result: RestoreResult): string {
  const { elections, verifySeconds, loadSeconds } = result;
  const seconds = verifySeconds + loadSeconds;
  const rows = elections.map(({ electionId, state, votes, logSize, sealed }) => [
    electionId,
    state,
    formatCount(votes),
    formatCount(logSize),
    sealed.join(" "),
  ]);
  return [
    formatTable(
      [["election", "state", "votes", "log entries", "newest sealed sequence of each shard"], ...rows],
      [2, 3],
    ),
    `${formatCount(votesOf(elections))} votes in ${seconds.toFixed(1)} s (verified in ${verifySeconds.toFixed(1)} s), ` +
      `${formatCount(Math.round(votesOf(elections) / seconds))} votes/s`,
    "Votes that were acknowledged after these sequences, and not sealed, are not here. An election that was closed after",
    'its last sealed vote is open again: close it. docs/operations.md, "Recovery".',
  ].join("\n");
}

function votesOf(elections: readonly RestoredElection[]): number {
  return elections.reduce((sum, { votes }) => sum + votes, 0);
}

function round(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

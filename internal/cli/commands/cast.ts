import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { toHex } from "../../core/bytes.ts";
import type { ElectionId } from "../../core/ids.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { formatTable } from "../terminal.ts";

interface CastOptions {
  readonly voter: string;
  readonly candidate: string;
  readonly request?: string;
  readonly election?: string;
}

export function castCommand(program: Command, { run }: Cli): void {
  program
    .command("cast")
    .description("cast one vote (clients)")
    .requiredOption("--voter <id>", "who votes")
    .requiredOption("--candidate <id>", "the choice's id")
    .option("--request <id>", "makes a retry safe; random unless given")
    .option("--election <id>", "the profile's unless given")
    .action((options: CastOptions) =>
      run(async (context) => {
        const vote = await castVote(context, context.election(options.election), options);
        return context.show(vote, () =>
          formatTable(Object.entries(vote).map(([key, value]) => [key.replaceAll("_", " "), String(value)])),
        );
      }),
    );
}

/** Casts one vote; the answer means that it is kept. */
async function castVote(
  context: CliContext,
  electionId: ElectionId,
  { voter, candidate, request = randomUUID() }: CastOptions,
): Promise<object> {
  const vote = await context.votes().castVote({
    electionId,
    voterId: voter,
    requestId: request,
    choice: { case: "candidateId", value: candidate },
  });
  return {
    vote_id: Number(vote.voteId),
    status: "recorded",
    revision: vote.revision,
    record_hash: toHex(vote.recordHash),
    request_id: request,
  };
}

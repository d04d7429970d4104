import { rm, writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Manifest } from "../ballot/manifest.ts";
import { castVote } from "./commands/cast.ts";
import {
  closeElection,
  createElection,
  describeElection,
  electionJson,
  listElections,
  readChoices,
  showElection,
} from "./commands/election.ts";
import { fetchReceipt } from "./commands/receipt.ts";
import { ballotsOf, castBallots, choicesOf, readResults } from "./commands/replay.ts";
import { start } from "./commands/start.ts";
import { statusOf } from "./commands/status.ts";
import { countJson, countVotes, describeCount } from "./commands/tally.ts";
import { chainReader, describeVerification, verificationJson, verifyElection } from "./commands/verify.ts";
import { CliContext } from "./context.ts";
import { ExitCode, UsageError } from "./exit-code.ts";
import { defaultProfilePath, homeFolder } from "./profile.ts";
import { formatTable, type Terminal } from "./terminal.ts";

export interface ProgramOptions {
  readonly terminal: Terminal;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Hears the exit code of the command that ran. */
  readonly exit: (code: ExitCode) => void;
}

interface GlobalOptions {
  readonly profile: string;
  readonly json: boolean;
}

interface ElectionOption {
  readonly election?: string;
}

const EXIT_CODES = `
Exit status:
  0  done; what was checked is right
  1  checked, and it is not right: a problem, or counts that differ
  2  the command line, a file or a request is wrong; nothing was changed
  3  a service or a file could not be reached: trying again may help
  4  anything else

Data goes to standard output, everything else to standard error.`;

/** The psephos command line. */
export function createProgram({ terminal, signal, exit }: ProgramOptions): Command {
  const program = new Command("psephos")
    .description("Runs elections on a verifiable vote ledger, and checks them.")
    .option("--profile <file>", "where the deployment is and who you are there", defaultProfilePath())
    .option("--json", "machine-readable output on standard output", false)
    .addHelpText("after", EXIT_CODES)
    .showHelpAfterError("(psephos --help lists the commands)")
    .configureOutput({
      writeOut: (text) => terminal.data(text.trimEnd()),
      writeErr: (text) => terminal.say(text.trimEnd()),
    })
    .exitOverride();

  const globals = () => program.opts<GlobalOptions>();

  /** Runs an action with the deployment of the profile, and answers with its exit code. */
  async function withContext(
    action: (context: CliContext, json: boolean) => Promise<ExitCode>,
  ): Promise<void> {
    const { profile, json } = globals();
    await using context = await CliContext.load(terminal, profile);
    exit(await action(context, json));
  }

  const show = (json: boolean, data: object, text: () => string): ExitCode => {
    terminal.data(json ? JSON.stringify(data) : text());
    return ExitCode.ok;
  };

  program
    .command("start")
    .description(
      "run everything on this machine, and a real election through it: Vermont 2020, 370,968 ballots",
    )
    .option("--home <folder>", "where the deployment keeps its state", homeFolder())
    .option("--exit", "stop when the election is counted, instead of staying up", false)
    .option("--reset", "delete the state folder first", false)
    .option("--json", "end with one line of JSON on standard output", false)
    .action(async (options: { home: string; exit: boolean; reset: boolean; json: boolean }) => {
      if (options.reset) await rm(options.home, { recursive: true, force: true });
      exit(await start(terminal, { ...options, json: options.json || globals().json }, signal));
    });

  const election = program
    .command("election")
    .description("define, open, close and show elections (operators)");

  election
    .command("create")
    .description("create an election; its tally key is split among trustees and kept nowhere")
    .argument("<id>", "1 to 63 of a-z, 0-9 and inner hyphens")
    .requiredOption("--title <text>", "what is being decided")
    .option("--choice <id=name>", "a choice; repeat it for each", collectChoice, [])
    .option("--choices <file>", 'choices from a JSON file: [{"id": "…", "name": "…"}]')
    .addOption(
      new Option("--revoting <rule>", "what a second vote does")
        .choices(["forbidden", "last-counts"])
        .default("forbidden"),
    )
    .option("--shards <number>", "logical shards", parseCount, 16)
    .option("--opens-at <time>", "ISO 8601; now unless given", parseTime)
    .option("--closes-at <time>", "ISO 8601; when an operator closes it unless given", parseTime)
    .option("--trustees <k/n>", "how many of how many trustees can count", parseTrustees, {
      threshold: 2,
      shares: 3,
    })
    .requiredOption("--trustees-out <folder>", "a new folder for the trustees' share files")
    .action((id: string, options: CreateOptions) =>
      withContext(async (context, json) => {
        const choices = options.choices ? await readChoices(options.choices) : options.choice;
        if (choices.length === 0) throw new UsageError("name the choices with --choice or --choices");
        const created = await createElection(context, {
          electionId: context.election(id),
          title: options.title,
          choices,
          shards: options.shards,
          revoting: options.revoting,
          opensAt: options.opensAt,
          closesAt: options.closesAt,
          trustees: options.trustees,
          trusteesFolder: options.trusteesOut,
        });
        terminal.say(`hand the files in ${options.trusteesOut} to the trustees, and delete them there`);
        return show(json, electionJson(created), () => describeElection(created));
      }),
    );

  election
    .command("close")
    .description("take no more votes; safe to repeat")
    .argument("[id]", "the profile's election unless given")
    .action((id?: string) =>
      withContext(async (context, json) => {
        const closed = await closeElection(context, context.election(id));
        return show(json, electionJson(closed), () => describeElection(closed));
      }),
    );

  election
    .command("show")
    .description("an election's definition and state, or all of them with --all")
    .argument("[id]", "the profile's election unless given")
    .option("--all", "list every election", false)
    .action((id: string | undefined, options: { all: boolean }) =>
      withContext(async (context, json) => {
        if (!options.all) {
          const shown = await showElection(context, context.election(id));
          return show(json, electionJson(shown), () => describeElection(shown));
        }
        const all = await listElections(context);
        return show(json, { elections: all.map(electionJson) }, () =>
          formatTable(
            [["election", "votes"], ...all.map(({ electionId, votes }) => [electionId, String(votes)])],
            [1],
          ),
        );
      }),
    );

  program
    .command("cast")
    .description("cast one vote (clients)")
    .requiredOption("--voter <id>", "who votes")
    .requiredOption("--candidate <id>", "the choice's id")
    .option("--request <id>", "makes a retry safe; random unless given")
    .option("--election <id>", "the profile's unless given")
    .action((options: ElectionOption & { voter: string; candidate: string; request?: string }) =>
      withContext(async (context, json) => {
        const electionId = context.election(options.election);
        const { voter: voterId, candidate: candidateId, request: requestId } = options;
        const vote = await castVote(context, { electionId, voterId, candidateId, requestId });
        return show(json, vote, () =>
          formatTable(Object.entries(vote).map(([key, value]) => [key, String(value)])),
        );
      }),
    );

  program
    .command("replay")
    .description("cast a table of results as single ballots, as a rehearsal; safe to repeat")
    .argument("<file.csv>", "columns candidate and votes, and any of county, town, precinct")
    .option("--election <id>", "the profile's unless given")
    .option("--choices-out <file>", "only write the file's choices for election create --choices")
    .action((file: string, options: ElectionOption & { choicesOut?: string }) =>
      withContext(async (context, json) => {
        const rows = await readResults(file);
        if (options.choicesOut) {
          await writeFile(options.choicesOut, `${JSON.stringify(choicesOf(rows), null, 2)}\n`);
          return ExitCode.ok;
        }
        const total = rows.reduce((sum, { votes }) => sum + votes, 0);
        const cast = await castBallots(
          context,
          context.election(options.election),
          ballotsOf(rows),
          total,
          signal,
        );
        const result = { ...cast, votes_per_second: Math.round(cast.recorded / cast.seconds) };
        return show(json, result, () => `${cast.recorded} ballots cast in ${cast.seconds.toFixed(1)} s`);
      }),
    );

  program
    .command("status")
    .description("where an election stands: votes, log, signed checkpoint")
    .option("--election <id>", "the profile's unless given")
    .action((options: ElectionOption) =>
      withContext(async (context, json) => {
        const status = await statusOf(context, context.election(options.election));
        return show(json, status, () =>
          formatTable(
            Object.entries(status).map(([key, value]) => [
              key.replaceAll("_", " "),
              String(value ?? "unknown"),
            ]),
          ),
        );
      }),
    );

  program
    .command("verify")
    .description("check an election from outside: every note, tile, entry, record and chain")
    .option("--election <id>", "the profile's unless given")
    .option("--public <url>", "the public endpoint; the profile's unless --evidence alone is given")
    .option("--evidence <folder>", "the evidence store; the profile's unless --public alone is given")
    .option("--databases", "also read every chain from the shards' databases (auditors)", false)
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names")
    .action(async (options: VerifyCommandOptions) => {
      const named = options.public !== undefined || options.evidence !== undefined;
      // A stranger has no profile, and needs none.
      if (named && options.election && !options.databases) {
        exit(await verify(undefined, options, globals().json));
      } else {
        await withContext((context, json) => verify(context, options, json));
      }
    });

  async function verify(
    context: CliContext | undefined,
    options: VerifyCommandOptions,
    json: boolean,
  ): Promise<ExitCode> {
    const named = options.public !== undefined || options.evidence !== undefined;
    const electionId = (context ?? new CliContext({ terminal, profile: NO_PROFILE })).election(
      options.election,
    );
    const verification = await verifyElection(terminal, {
      electionId,
      publicUrl: named ? options.public : context?.profile.public,
      evidence: named ? options.evidence : context?.profile.evidence,
      readChain: context && options.databases ? chainReader(context, electionId) : undefined,
      logKey: options.logKey,
    });
    if (json) terminal.data(JSON.stringify(verificationJson(verification)));
    else for (const line of describeVerification(verification)) terminal.data(line);
    return verification.report.ok ? ExitCode.ok : ExitCode.failed;
  }

  program
    .command("tally")
    .description("verify the evidence and count it with the trustees' shares")
    .requiredOption("--share <file...>", "trustees' share files, as many as the manifest asks for")
    .option("--election <id>", "the profile's unless given")
    .option("--evidence <folder>", "the evidence store; the profile's unless given")
    .option("--log-key <key>", "demand this verifier key instead of the one the manifest names")
    .action((options: ElectionOption & { share: string[]; evidence?: string; logKey?: string }) =>
      withContext(async (context, json) => {
        const evidenceFolder = options.evidence ?? context.profile.evidence;
        const verification = await verifyElection(terminal, {
          electionId: context.election(options.election),
          evidence: evidenceFolder,
          logKey: options.logKey,
        });
        const { report, evidence } = verification;
        if (!report.ok || !evidence) {
          for (const line of describeVerification(verification)) terminal.say(line);
          terminal.say("nothing was counted: the evidence does not verify");
          return ExitCode.failed;
        }
        if (!evidence.closing)
          terminal.say("the election is not closed: this counts the votes sealed so far");
        const count = await countVotes(evidence, options.share);
        return show(json, { closed: evidence.closing !== undefined, ...countJson(count) }, () =>
          describeCount(count),
        );
      }),
    );

  program
    .command("receipt")
    .description("prove that a vote is in the public log, as a .tlog-proof (c2sp.org/tlog-proof)")
    .argument("<vote-id>", "the number the vote got when it was cast", parseCount)
    .option("--election <id>", "the profile's unless given")
    .option("--out <file>", "write it to a file")
    .action((voteId: number, options: ElectionOption & { out?: string }) =>
      withContext(async (context, json) => {
        const receipt = await fetchReceipt(context, context.election(options.election), voteId);
        if (options.out) await writeFile(options.out, receipt);
        else if (json) terminal.data(JSON.stringify({ vote_id: voteId, receipt }));
        else terminal.data(receipt.trimEnd());
        return ExitCode.ok;
      }),
    );

  return program;
}

interface CreateOptions {
  readonly title: string;
  readonly choice: { id: string; name: string }[];
  readonly choices?: string;
  readonly revoting: Manifest["revoting"];
  readonly shards: number;
  readonly opensAt?: number;
  readonly closesAt?: number;
  readonly trustees: Manifest["trustees"];
  readonly trusteesOut: string;
}

interface VerifyCommandOptions extends ElectionOption {
  readonly public?: string;
  readonly evidence?: string;
  readonly databases: boolean;
  readonly logKey?: string;
}

/** For commands that were told everything on the command line. */
const NO_PROFILE = { trust_domain: "none", edge: "none", public: "none", identities: {} };

function collectChoice(
  text: string,
  choices: { id: string; name: string }[],
): { id: string; name: string }[] {
  const [id, ...name] = text.split("=");
  if (!id || name.length === 0) throw new InvalidArgumentError("write it as id=name");
  return [...choices, { id, name: name.join("=") }];
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new InvalidArgumentError("not a whole number");
  return value;
}

function parseTime(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new InvalidArgumentError("not a time such as 2026-11-03T08:00:00Z");
  return ms * 1000;
}

function parseTrustees(text: string): Manifest["trustees"] {
  const [, threshold, shares] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (!threshold || !shares) throw new InvalidArgumentError("write it as 2/3");
  return { threshold: Number(threshold), shares: Number(shares) };
}

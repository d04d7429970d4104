import type { Command } from "commander";
import type { Address } from "../../config/fields.ts";
import { systemClock } from "../../core/clock.ts";
import type { Alert } from "../../monitor/alert.ts";
import { MonitorMetrics } from "../../monitor/metrics.ts";
import { type Look, Monitor } from "../../monitor/monitor.ts";
import { MonitorState } from "../../monitor/monitor-state.ts";
import { Webhook } from "../../monitor/webhook.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { Metrics } from "../../telemetry/metrics.ts";
import { MetricsServer } from "../../telemetry/metrics-server.ts";
import { httpSource } from "../../verify/http-source.ts";
import { parseAddress, parseLogKey, parseSeconds, parseUrl } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { ExitCode } from "../exit-code.ts";
import { openStateFolder } from "../state-folder.ts";
import { readPolicyFile } from "../voter-file.ts";

interface Options {
  readonly election?: string;
  readonly state: string;
  readonly logKey?: string;
  readonly once: boolean;
  readonly interval: number;
  readonly stall?: number;
  readonly policy?: string;
  readonly compare: readonly URL[];
  readonly webhook?: string;
  readonly metrics?: Address;
}

export function monitorCommand(program: Command, { run, stopSignal }: Cli): void {
  program
    .command("monitor")
    .description(
      "follow a public log, verify all that comes, and tell of forks, rollbacks, stalls, missing tiles, changed manifests " +
        "and bad chains (observers)",
    )
    .argument("<url>", "the public address of the deployment")
    .option("--election <id>", "the election (default: the profile's)")
    .requiredOption("--state <folder>", "what it saw, for one log: never share it, keep it")
    .option("--log-key <key>", "the log's verifier key as you know it", parseLogKey)
    .option(
      "--once",
      "look once and end, for cron: exit status 1 with an alert, 3 if only unreachable",
      false,
    )
    .option("--interval <seconds>", "how long after one look the next one begins", parseSeconds, 10_000)
    .option("--stall <seconds>", "alert when an open log does not grow for so long", parseSeconds)
    .option(
      "--policy <file>",
      "alert when a checkpoint has no quorum of these witnesses (c2sp.org/tlog-policy)",
    )
    .option(
      "--compare <url>",
      "a checkpoint that somebody else saw: a witness's, a mirror's, another monitor's; repeat it for more",
      collectUrl,
      [],
    )
    .option("--webhook <url>", "POST alerts there, as JSON, when they come and when they are over", parseUrl)
    .option("--metrics <address>", "host:port for /metrics", parseAddress)
    .addHelpText("after", EXAMPLES)
    .action((url: string, options: Options) =>
      run((context) => monitor(context, new URL(parseUrl(url)), options, stopSignal())),
    );
}

const EXAMPLES = `
Examples:
  psephos monitor https://votes.example.org --election town --state town-seen --once --json
  psephos monitor https://votes.example.org --election town --state town-seen --stall 3600 \\
    --compare https://paper.example/town/checkpoint --webhook https://alerts.example.org/hook --metrics 127.0.0.1:9470`;

async function monitor(
  context: CliContext,
  url: URL,
  options: Options,
  signal: AbortSignal,
): Promise<ExitCode> {
  const electionId = context.election(options.election);
  const logger = createLogger({ service: "monitor", level: "info" });
  await using resources = new AsyncDisposableStack();
  const files = resources.use(await openStateFolder(options.state));
  const follower = new Monitor({
    source: () => httpSource(url.href, electionId),
    electionId,
    logKey: options.logKey,
    state: new MonitorState({ files }),
    others: options.compare.map((other) => ({ url: other.href, read: () => readNote(other) })),
    policy: await readPolicyFile(options.policy),
    stallMs: options.stall,
    clock: systemClock,
  });
  const log = `${url.href.replace(/\/$/, "")}/${electionId}`;
  const webhook = options.webhook === undefined ? undefined : new Webhook({ url: options.webhook, logger });
  const metrics = new Metrics({ service: "monitor" });
  const gauges = new MonitorMetrics(metrics);
  if (options.metrics) resources.use(await MetricsServer.listen({ metrics, ...options.metrics, logger }));

  let worst: ExitCode = ExitCode.ok;
  let before: Look | undefined;
  do {
    const look = await follower.look();
    gauges.record(look, Math.floor(Date.now() / 1000));
    if (options.once || !isSame(look, before)) show(context, log, look);
    await webhook?.tell(log, look.alerts);
    worst = worse(worst, exitCodeFor(look.alerts));
    before = look;
    if (!options.once) await systemClock.sleep(options.interval, signal);
  } while (!options.once && !signal.aborted);
  return worst;
}

/** A note on another server, by its own address. */
function readNote(url: URL): Promise<Uint8Array | undefined> {
  const [, folder = "", name = ""] = /^(.*\/)([^/]*)$/.exec(url.pathname) ?? [];
  return httpSource(`${url.origin}${folder}`, ".")(name);
}

function show(context: CliContext, log: string, { seen, alerts }: Look): void {
  const verified = seen?.size ?? 0;
  context.show({ log, verified, closed: seen?.closed ?? false, alerts }, () =>
    [
      `${log}: ${verified} entries verified${seen?.closed ? ", closed" : ""}`,
      ...alerts.map(({ kind, object, message }) => `ALERT ${kind}: ${object ? `${object} ` : ""}${message}`),
    ].join("\n"),
  );
}

function isSame(look: Look, before: Look | undefined): boolean {
  const key = ({ seen, alerts }: Look) =>
    JSON.stringify([seen?.size, alerts.map(({ kind, object }) => [kind, object])]);
  return before !== undefined && key(look) === key(before);
}

function exitCodeFor(alerts: readonly Alert[]): ExitCode {
  if (alerts.length === 0) return ExitCode.ok;
  return alerts.every(({ kind }) => kind === "unreachable") ? ExitCode.unavailable : ExitCode.failed;
}

/** A failed check weighs more than a log that could not be reached. */
function worse(a: ExitCode, b: ExitCode): ExitCode {
  return a === ExitCode.failed || b === ExitCode.ok ? a : b;
}

function collectUrl(text: string, urls: readonly URL[]): URL[] {
  return [...urls, new URL(parseUrl(text))];
}

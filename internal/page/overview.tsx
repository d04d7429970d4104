import type { ComponentChildren, JSX } from "preact";
import type { Manifest } from "../ballot/manifest.ts";
import type { Election } from "./election.ts";
import { growthOf, type LogState, type SeenCheckpoint } from "./follow-log.ts";
import { formatClock, formatDuration, formatMoment, formatNumber } from "./format.ts";
import { Growth } from "./growth.tsx";
import { useNow } from "./hooks.ts";
import { messages } from "./messages.ts";
import { linkTo } from "./route.ts";

/** More choices than this are a list to scroll past. */
const MAX_CHOICES = 12;

interface OverviewProps {
  readonly election: Election;
  readonly log: LogState | undefined;
}

export function Overview({ election, log }: OverviewProps): JSX.Element {
  const { manifest } = election;
  return (
    <>
      <Phase manifest={manifest} seen={log?.seen} />
      <p>
        {messages.howItWorks(
          formatNumber(manifest.trustees.threshold),
          formatNumber(manifest.trustees.shares),
        )}{" "}
        {manifest.revoting === "forbidden" ? messages.revotingForbidden : messages.revotingLastCounts}
      </p>
      <p>
        <a class="button" href={linkTo(election.id, { view: "receipt" })}>
          {messages.navReceipt}
        </a>
      </p>
      <Live election={election} log={log} />
      <Growth points={log?.points ?? []} />
      <Choices manifest={manifest} />
    </>
  );
}

function Phase({
  manifest,
  seen,
}: {
  readonly manifest: Manifest;
  readonly seen: SeenCheckpoint | undefined;
}): JSX.Element {
  const now = useNow();
  return <p class="lead">{phaseOf(manifest, seen, now)}</p>;
}

function phaseOf({ opensAt, closesAt }: Manifest, seen: SeenCheckpoint | undefined, nowMs: number): string {
  if (seen?.closing) return messages.phaseClosed(formatNumber(seen.closing.totalVotes));
  if (nowMs < opensAt / 1000) return messages.phaseScheduled(formatMoment(opensAt / 1000));
  if (closesAt === null) return messages.phaseOpen;
  return nowMs < closesAt / 1000
    ? messages.phaseOpenUntil(formatMoment(closesAt / 1000))
    : messages.phaseOver;
}

function Choices({ manifest: { choices } }: { readonly manifest: Manifest }): JSX.Element {
  const more = choices.length - MAX_CHOICES;
  return (
    <section>
      <h2>{messages.choicesHeading}</h2>
      <ul class="choices">
        {choices.slice(0, MAX_CHOICES).map(({ id, name }) => (
          <li key={id}>{name}</li>
        ))}
      </ul>
      {more > 0 && <p>{messages.moreChoices(formatNumber(more))}</p>}
    </section>
  );
}

type Condition = keyof typeof messages.statusShort;

function conditionOf(
  { manifest, maximumDelayS }: Election,
  log: LogState | undefined,
  nowMs: number,
): Condition {
  if (log?.contradiction !== undefined) return "broken";
  if (log?.failure !== undefined) return "unreachable";
  if (!log?.seen) return "loading";
  if (log.seen.closing) return "closed";
  const { publishedAt } = log.seen;
  const isOpen = nowMs >= manifest.opensAt / 1000;
  const isLate = publishedAt !== undefined && nowMs - publishedAt > maximumDelayS * 1000;
  return isOpen && isLate ? "stalled" : "good";
}

function Live({ election, log }: OverviewProps): JSX.Element {
  const now = useNow();
  const condition = conditionOf(election, log, now);
  return (
    <section>
      <h2>{messages.liveHeading}</h2>
      <p class="hidden" role="status">
        {messages.statusShort[condition]}
      </p>
      <Status condition={condition} election={election} log={log} now={now} />
      {log?.seen && <Figures election={election} log={log} seen={log.seen} now={now} />}
      {log?.remembered && condition !== "broken" && (
        <p class="note">{messages.remembered(formatNumber(log.remembered.size))}</p>
      )}
    </section>
  );
}

const TONES: Readonly<Record<Condition, "" | "good" | "attention" | "bad">> = {
  ...{
    loading: "",
    good: "good",
    closed: "good",
    stalled: "attention",
    unreachable: "attention",
    broken: "bad",
  },
};

function Status({
  condition,
  election,
  log,
  now,
}: OverviewProps & { readonly condition: Condition; readonly now: number }): JSX.Element {
  const since = (milliseconds: number | undefined) => formatDuration((now - (milliseconds ?? now)) / 1000);
  const texts: Readonly<Record<Condition, string>> = {
    loading: messages.loading,
    good: messages.statusGood,
    closed: messages.statusClosed,
    stalled: messages.statusStalled(since(log?.seen?.publishedAt), formatDuration(election.maximumDelayS)),
    unreachable: messages.statusUnreachable(since(log?.answeredAt ?? log?.since)),
    broken: messages.statusBroken,
  };
  const reason = condition === "broken" ? log?.contradiction : undefined;
  return (
    <div class={`notice ${TONES[condition]}`} data-condition={condition}>
      <p>{texts[condition]}</p>
      {reason !== undefined && <p class="reason">{reason}</p>}
    </div>
  );
}

function Figures({
  election,
  log,
  seen,
  now,
}: {
  readonly election: Election;
  readonly log: LogState;
  readonly seen: SeenCheckpoint;
  readonly now: number;
}): JSX.Element {
  const { publishedAt, checkpoint, closing } = seen;
  const grown = growthOf(log.points, now);
  const age = publishedAt === undefined ? undefined : (now - publishedAt) / 1000;
  return (
    <dl class="figures">
      {closing && <Figure name={messages.votesInLog} value={formatNumber(closing.totalVotes)} />}
      <Figure
        name={messages.entriesInLog}
        value={formatNumber(checkpoint.size)}
        note={messages.entriesNote}
      />
      {!closing && (
        <Figure
          name={messages.growth}
          value={grown === 0 ? messages.noGrowthValue : messages.growthValue(formatNumber(grown))}
        />
      )}
      <Figure
        name={messages.lastCheckpoint}
        value={
          age === undefined
            ? messages.unknownTime
            : age < 2
              ? messages.justNow
              : messages.ago(formatDuration(age))
        }
        note={publishedAt === undefined ? undefined : formatMoment(publishedAt)}
      />
      <Witnesses election={election} seen={seen} />
      <Figure
        name={messages.uptime}
        value={messages.uptimeValue(formatNumber(log.answered), formatNumber(log.asked))}
        note={messages.uptimeNote(formatClock(log.since))}
      />
    </dl>
  );
}

function Witnesses({
  election: { policy },
  seen,
}: {
  readonly election: Election;
  readonly seen: SeenCheckpoint;
}): JSX.Element {
  const { cosignatures, unknownSignatures } = seen;
  if (!policy) {
    const value =
      unknownSignatures > 0
        ? messages.witnessesUnknown(formatNumber(unknownSignatures))
        : messages.noWitnesses;
    const note = unknownSignatures > 0 ? undefined : messages.noWitnessesNote;
    return <Figure name={messages.witnesses} value={value} note={note} />;
  }
  const isEnough = policy.isSatisfiedBy(cosignatures.map(({ verifier }) => verifier));
  return (
    <Figure
      name={messages.witnesses}
      value={messages.witnessesOf(formatNumber(cosignatures.length), formatNumber(policy.witnesses.length))}
      note={isEnough ? messages.quorumReached : messages.quorumMissed}
    />
  );
}

interface FigureProps {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly note?: string | undefined;
}

function Figure({ name, value, note }: FigureProps): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value}
        {note !== undefined && <span class="note">{note}</span>}
      </dd>
    </div>
  );
}

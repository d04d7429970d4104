import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { toHex } from "../core/bytes.ts";
import { messageOf } from "../core/errors.ts";
import { LogKeys } from "../tlog/log-keys.ts";
import {
  type CheckedReceipt,
  checkReceipt,
  MAX_RECEIPT_BYTES,
  type Step,
  type Verdict,
} from "./check-receipt.ts";
import { type Election, readKeys, sourceOf } from "./election.ts";
import type { SeenCheckpoint } from "./follow-log.ts";
import { formatMoment, formatNumber } from "./format.ts";
import { messages } from "./messages.ts";
import { readCheckpoint } from "./open-checkpoint.ts";
import { linkTo } from "./route.ts";

interface ReceiptCheckProps {
  readonly election: Election;
  readonly seen: SeenCheckpoint | undefined;
}

type Progress =
  | { readonly state: "idle" }
  | { readonly state: "refused"; readonly why: string }
  | { readonly state: "checking"; readonly done: number; readonly total: number }
  | { readonly state: "checked"; readonly result: CheckedReceipt; readonly logSize: number | undefined };

export function ReceiptCheck({ election, seen }: ReceiptCheckProps): JSX.Element {
  const [text, setText] = useState("");
  const [progress, setProgress] = useState<Progress>({ state: "idle" });
  const result = useRef<HTMLDivElement>(null);

  const check = async (input: string) => {
    if (input.trim() === "") return setProgress({ state: "refused", why: messages.receiptEmpty });
    if (input.length > MAX_RECEIPT_BYTES)
      return setProgress({ state: "refused", why: messages.receiptTooLarge });
    setProgress({ state: "checking", done: 0, total: 0 });
    const start = performance.now();
    try {
      const fetch = sourceOf(election);
      // Somebody may be quicker than the first look at the log.
      const newest = seen ?? (await readCheckpoint(election, "checkpoint").catch(() => undefined));
      const known = newest?.keys ?? new LogKeys(election.key);
      const checkWith = (log: LogKeys) =>
        checkReceipt({
          ...{ text: asSaved(input), log, newest, fetch, nowMs: Date.now() },
          ...{ manifest: election.manifest, manifestHash: election.manifestHash },
          witnesses: election.policy?.witnesses.map(({ verifier }) => verifier) ?? [],
          onProgress: (done, total) => setProgress({ state: "checking", done, total }),
        });
      let checked = await checkWith(known);
      if (checked.verdict === "forged") {
        // Or signed by a key that the log has changed to since this page looked.
        const keys = await readKeys(election, fetch).catch(() => known);
        if (keys.changes.length > known.changes.length) checked = await checkWith(keys);
      }
      // For deploy/bench/page.ts, and whoever looks with the browser's tools.
      performance.measure("check receipt", { start });
      setProgress({ state: "checked", result: checked, logSize: newest?.checkpoint.size });
      result.current?.focus();
    } catch (error) {
      setProgress({ state: "refused", why: messageOf(error) });
    }
  };
  const choose = async (file: File | undefined) => {
    if (!file) return;
    if (file.size > MAX_RECEIPT_BYTES)
      return setProgress({ state: "refused", why: messages.receiptTooLarge });
    const read = await file.text();
    setText(read);
    await check(read);
  };

  return (
    <section>
      <h2>{messages.receiptHeading}</h2>
      <p>{messages.receiptIntro}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void check(text);
        }}
        onDragOver={(event) => event.preventDefault()}
        onDrop={(event) => {
          event.preventDefault();
          void choose(event.dataTransfer?.files[0]);
        }}
      >
        <label for="receipt-file">{messages.receiptFile}</label>
        <input
          id="receipt-file"
          type="file"
          accept=".tlog-proof,.promise,text/plain"
          onChange={(event) => void choose(event.currentTarget.files?.[0])}
        />
        <label for="receipt-text">{messages.receiptText}</label>
        <textarea
          id="receipt-text"
          rows={8}
          spellcheck={false}
          autocomplete="off"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit">{messages.receiptCheck}</button>
      </form>
      <div ref={result} tabIndex={-1} aria-live="polite" class="result">
        <Outcome election={election} progress={progress} />
      </div>
    </section>
  );
}

/** Pasting drops the last line's end, or adds empty lines; a file from elsewhere may have carriage returns. */
function asSaved(text: string): string {
  return `${text.replaceAll("\r\n", "\n").trim()}\n`;
}

function Outcome({
  election,
  progress,
}: {
  readonly election: Election;
  readonly progress: Progress;
}): JSX.Element | null {
  switch (progress.state) {
    case "idle":
      return null;
    case "refused":
      return <p class="notice attention">{progress.why}</p>;
    case "checking":
      return progress.total === 0 ? (
        <p>{messages.receiptChecking}</p>
      ) : (
        <p>{messages.searching(formatNumber(progress.done), formatNumber(progress.total))}</p>
      );
    case "checked":
      return <Checked election={election} result={progress.result} logSize={progress.logSize} />;
  }
}

interface CheckedProps {
  readonly election: Election;
  readonly result: CheckedReceipt;
  readonly logSize: number | undefined;
}

const TONES: Readonly<Record<Verdict, "good" | "attention" | "bad">> = {
  good: "good",
  "good-offline": "attention",
  forged: "bad",
  rewritten: "bad",
  "promise-kept": "good",
  "promise-pending": "good",
  "promise-broken": "bad",
  "promise-offline": "attention",
  "no-promises": "attention",
};

function Checked({ election, result, logSize }: CheckedProps): JSX.Element {
  const { verdict, index, steps } = result;
  const [title, detail] = wordsFor(result, logSize);
  // What the log as it was shown does not have yet cannot be looked at.
  const isShown = index !== undefined && index < (logSize ?? 0) && verdict !== "rewritten";
  return (
    <>
      <div class={`notice ${TONES[verdict]}`} data-verdict={verdict}>
        <h3>{title}</h3>
        {detail !== undefined && <p>{detail}</p>}
        {isShown && (
          <p>
            <a href={linkTo(election.id, { view: "entry", checkpoint: "latest", index })}>
              {messages.seeEntry}
            </a>
          </p>
        )}
      </div>
      <h3>{messages.stepsHeading}</h3>
      <ol class="steps">
        {steps.map((step) => (
          <StepLine key={step.name} step={step} />
        ))}
      </ol>
      <Facts result={result} />
    </>
  );
}

function wordsFor(
  { verdict, index, dueAt }: CheckedReceipt,
  logSize: number | undefined,
): [title: string, detail?: string] {
  switch (verdict) {
    case "good":
      return [
        messages.verdictReceipt,
        messages.verdictReceiptDetail(formatNumber(index ?? 0), formatNumber(logSize ?? 0)),
      ];
    case "good-offline":
      return [messages.verdictReceiptOffline];
    case "forged":
      return [messages.verdictForged, messages.verdictForgedDetail];
    case "rewritten":
      return [messages.verdictRewritten, messages.verdictRewrittenDetail];
    case "promise-kept":
      return [
        messages.verdictKept,
        messages.verdictReceiptDetail(formatNumber(index ?? 0), formatNumber(logSize ?? 0)),
      ];
    case "promise-pending":
      return [messages.verdictPending, messages.verdictPendingDetail(formatMoment(dueAt ?? 0))];
    case "promise-broken":
      return [messages.verdictBroken, messages.verdictBrokenDetail];
    case "promise-offline":
      return [messages.verdictPromiseOffline];
    case "no-promises":
      return [messages.verdictNoPromises];
  }
}

const OUTCOMES: Readonly<Record<Step["outcome"], string>> = {
  passed: messages.stepPassed,
  failed: messages.stepFailed,
  unknown: messages.stepUnknown,
  "not-reached": messages.stepNotReached,
};

function StepLine({ step: { name, outcome, reason } }: { readonly step: Step }): JSX.Element {
  return (
    <li class={outcome} data-step={name}>
      <span>{messages.steps[name]}</span> <strong>{OUTCOMES[outcome]}</strong>
      {reason !== undefined && (
        <p class="reason">
          {messages.technicalReason} {reason}
        </p>
      )}
    </li>
  );
}

function Facts({
  result: { entry, index, size, cosigners },
}: {
  readonly result: CheckedReceipt;
}): JSX.Element | null {
  if (!entry) return null;
  const facts: readonly (readonly [string, string | undefined])[] = [
    [messages.factIndex, index === undefined ? undefined : formatNumber(index)],
    [messages.factShard, formatNumber(entry.shard)],
    [messages.factSequence, formatNumber(entry.sequence)],
    [messages.factRecordHash, toHex(entry.recordHash)],
    [messages.factCheckpoint, size === undefined ? undefined : messages.factEntries(formatNumber(size))],
    [messages.factWitnesses, cosigners && cosigners.length > 0 ? cosigners.join(", ") : undefined],
  ];
  return (
    <>
      <h3>{messages.factsHeading}</h3>
      <dl class="facts">
        {facts.map(([name, value]) =>
          value === undefined ? null : (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ),
        )}
      </dl>
    </>
  );
}

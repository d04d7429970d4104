import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Election } from "./election.ts";
import type { SeenCheckpoint } from "./follow-log.ts";
import { formatNumber } from "./format.ts";
import { messages } from "./messages.ts";
import type { VerifyJob, VerifyMessage, VerifyOutcome } from "./verify-job.ts";

/** An entry is 45 bytes in its bundle and 32 in its tile, for nearly all of a log. */
const ENTRY_BYTES = 77;

type Run =
  | { readonly state: "idle" | "stopped" }
  | { readonly state: "running"; readonly done: number; readonly total: number }
  | { readonly state: "done"; readonly outcome: VerifyOutcome }
  | { readonly state: "failed"; readonly reason: string };

interface WholeLogProps {
  readonly election: Election;
  readonly seen: SeenCheckpoint | undefined;
}

export function WholeLog({ election, seen }: WholeLogProps): JSX.Element {
  const [run, setRun] = useState<Run>({ state: "idle" });
  const worker = useRef<Worker | undefined>(undefined);
  const end = () => {
    worker.current?.terminate();
    worker.current = undefined;
  };
  useEffect(() => end, []);

  const start = () => {
    const { base, id, key } = election;
    const begun = performance.now();
    const started = new Worker(new URL("./verify-worker.ts", import.meta.url), { type: "module" });
    started.onmessage = ({ data }: MessageEvent<VerifyMessage>) => {
      if (data.kind === "progress") return setRun({ state: "running", done: data.done, total: data.total });
      end();
      performance.measure("verify log", { start: begun });
      setRun(
        data.kind === "done"
          ? { state: "done", outcome: data.outcome }
          : { state: "failed", reason: data.reason },
      );
    };
    started.onerror = ({ message }) => setRun({ state: "failed", reason: message });
    started.postMessage({ base, election: id, logKey: key.toString() } satisfies VerifyJob);
    worker.current = started;
    setRun({ state: "running", done: 0, total: seen?.checkpoint.size ?? 0 });
  };
  const stop = () => {
    end();
    setRun({ state: "stopped" });
  };

  const size = seen?.checkpoint.size ?? 0;
  return (
    <section>
      <h2>{messages.verifyHeading}</h2>
      <p>{messages.verifyIntro}</p>
      {seen && (
        <p>
          {messages.verifyAmount(formatNumber(size), formatNumber(Math.ceil((size * ENTRY_BYTES) / 1e6)))}
        </p>
      )}
      {run.state === "running" ? (
        <button type="button" onClick={stop}>
          {messages.verifyStop}
        </button>
      ) : (
        <button type="button" onClick={start}>
          {messages.verifyStart}
        </button>
      )}
      {run.state === "running" && <Progress done={run.done} total={run.total} />}
      <div aria-live="polite" class="result">
        <Outcome run={run} />
      </div>
      <p class="note">{messages.verifyPageNote}</p>
      <p class="note">{messages.verifyKeyNote}</p>
      <p>
        <code class="key">{election.key.toString()}</code>
      </p>
    </section>
  );
}

function Progress({ done, total }: { readonly done: number; readonly total: number }): JSX.Element {
  return (
    <p>
      <label for="verify-progress">{messages.verifyRunning}</label>
      <progress id="verify-progress" max={Math.max(1, total)} value={done} />
      <span class="note">{messages.verifyProgress(formatNumber(done), formatNumber(total))}</span>
    </p>
  );
}

function Outcome({ run }: { readonly run: Run }): JSX.Element | null {
  switch (run.state) {
    case "idle":
    case "running":
      return null;
    case "stopped":
      return <p class="notice attention">{messages.verifyStopped}</p>;
    case "failed":
      return (
        <div class="notice attention" data-outcome="failed">
          <h3>{messages.verifyFailed}</h3>
          <p class="reason">{run.reason}</p>
        </div>
      );
    case "done":
      return run.outcome.ok ? <Good outcome={run.outcome} /> : <Bad outcome={run.outcome} />;
  }
}

function Good({ outcome: { entries, seconds } }: { readonly outcome: VerifyOutcome }): JSX.Element {
  const rate = formatNumber(Math.round(entries / Math.max(seconds, 0.001)));
  return (
    <div class="notice good" data-outcome="good">
      <h3>{messages.verifyGood}</h3>
      <p>
        {messages.verifyGoodDetail(formatNumber(entries), formatNumber(Number(seconds.toFixed(1))), rate)}
      </p>
    </div>
  );
}

function Bad({
  outcome: { problems, moreProblems, notChecked },
}: {
  readonly outcome: VerifyOutcome;
}): JSX.Element {
  const count = problems.length + moreProblems;
  return (
    <div class="notice bad" data-outcome="bad">
      <h3>{count === 1 ? messages.verifyBadOne : messages.verifyBad(formatNumber(count))}</h3>
      <table>
        <thead>
          <tr>
            <th scope="col">{messages.problemObject}</th>
            <th scope="col">{messages.problemWhat}</th>
          </tr>
        </thead>
        <tbody>
          {problems.map(({ object, problem }) => (
            <tr key={`${object} ${problem}`}>
              <td>{object}</td>
              <td>{problem}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {notChecked.length > 0 && (
        <>
          <p>{messages.verifyNotChecked}</p>
          <ul>
            {notChecked.map((what) => (
              <li key={what}>{what}</li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

// Verifies a whole log beside the page, with the code of `psephos verify`.
import { messageOf } from "../core/errors.ts";
import { httpSource } from "../verify/http-source.ts";
import { VerificationReport } from "../verify/report.ts";
import { verifyPublicLog } from "../verify/verify-public.ts";
import type { VerifyJob, VerifyMessage, VerifyOutcome } from "./verify-job.ts";

/** Problems that are shown. */
const MAX_SHOWN = 50;
/** Ten times a second is as often as somebody sees. */
const PROGRESS_MS = 100;

addEventListener("message", ({ data }: MessageEvent<VerifyJob>) => {
  verify(data).then(
    (outcome) => say({ kind: "done", outcome }),
    (error: unknown) => say({ kind: "failed", reason: messageOf(error) }),
  );
});

async function verify({ base, election, logKey }: VerifyJob): Promise<VerifyOutcome> {
  const report = new VerificationReport();
  const started = performance.now();
  let told = started;
  await verifyPublicLog({
    source: httpSource(base, election),
    electionId: election,
    report,
    logKey,
    onProgress: (done, total) => {
      if (performance.now() < told + PROGRESS_MS) return;
      told = performance.now();
      say({ kind: "progress", done, total });
    },
  });
  const { ok, checked, problems, moreProblems, notChecked } = report;
  return {
    ...{ ok, notChecked, entries: checked.entries, seconds: (performance.now() - started) / 1000 },
    problems: problems.slice(0, MAX_SHOWN),
    moreProblems: moreProblems + Math.max(0, problems.length - MAX_SHOWN),
  };
}

function say(message: VerifyMessage): void {
  postMessage(message);
}

// Attempts on a legal hold. Evidence does not rest on holds; whoever adds one relies on it.
import { GetObjectLegalHoldCommand, PutObjectLegalHoldCommand } from "@aws-sdk/client-s3";
import { ObjectStoreError, type RetentionMode } from "../object-store.ts";
import type { Attempt } from "./attempt.ts";
import type { Bench, Placed } from "./bench.ts";
import { describeAnswer, type Judgement, judgePresence, judgeSetting } from "./judge.ts";

/** Long enough to be taken by a server whose clock is a second ahead. */
const SHORT_LOCK_MS = 2_500;
/** How long after the end of a lock a server may still keep it. */
const GRACE_MS = 500;

const HELD = { mode: "GOVERNANCE" as RetentionMode, more: { ObjectLockLegalHoldStatus: "ON" } } as const;

export const legalHoldRemoval: Attempt = async ({ strongest, attacker, name }) => {
  const placed = await placeHeld(strongest, name, strongest.lockMs);
  if (placed === undefined) return NO_HOLD;
  const answer = await setHold(attacker, placed, "OFF");
  const judgement = judgeSetting((await holdOf(strongest, placed)) !== "ON", answer);
  return lift(strongest, placed, judgement);
};

/** Beside a version without a hold: only where that one can be deleted does it say much that this one cannot. */
export const legalHoldAfterExpiry: Attempt = async ({ strongest, attacker, name }) => {
  const placed = await placeHeld(strongest, name, SHORT_LOCK_MS);
  if (placed === undefined) return NO_HOLD;
  const free = await strongest.place(`${name}-free`, { lockMs: SHORT_LOCK_MS, mode: "GOVERNANCE" });
  const end = free.lock?.until ?? strongest.now();
  await strongest.clock.sleep(end.getTime() + GRACE_MS - strongest.now().getTime());
  const freed = await attacker.delete(free);
  const answer = await attacker.delete(placed);
  const sight = await strongest.look(placed);
  const judgement = judgePresence(sight, answer);
  if (sight.content === "gone") return judgement;
  if (judgement.verdict !== "held" || freed.kind === "done") return lift(strongest, placed, judgement);
  const observed = `${judgement.observed}; so is one without a hold`;
  return lift(strongest, placed, { ...judgement, observed });
};

const NO_HOLD: Judgement = {
  verdict: "not-supported",
  observed: "no version can be put under a legal hold with these credentials",
};

/** undefined: a version without a hold is all that can be had. */
async function placeHeld(bench: Bench, name: string, lockMs: number): Promise<Placed | undefined> {
  try {
    const placed = await bench.place(name, { ...HELD, lockMs });
    return placed.lock === null ? undefined : placed;
  } catch (error) {
    if (error instanceof ObjectStoreError && error.failure === "access") return undefined;
    throw error;
  }
}

/** Takes the probe's own hold off, so that its object can go some day. There are servers that lift no hold. */
async function lift(bench: Bench, placed: Placed, judgement: Judgement): Promise<Judgement> {
  const answer = await setHold(bench, placed, "OFF");
  if (answer.kind === "done") return judgement;
  const stays = `the hold on ${placed.name} stays: ${describeAnswer(answer)}`;
  return { ...judgement, observed: `${judgement.observed}; ${stays}` };
}

function setHold(bench: Bench, placed: Placed, Status: "ON" | "OFF") {
  const input = { ...bench.target(placed), LegalHold: { Status } };
  return bench.try((client) => client.send(new PutObjectLegalHoldCommand(input)));
}

async function holdOf(bench: Bench, placed: Placed): Promise<string | undefined> {
  const command = new GetObjectLegalHoldCommand(bench.target(placed));
  const { LegalHold: hold } = await bench.ask(`show the hold of ${placed.name}`, (client) =>
    client.send(command),
  );
  return hold?.Status;
}

// What a PUT may do that it was not to: take a name that is taken, or bytes that are not those that were sent.
import { PutObjectCommand, type PutObjectCommandInput } from "@aws-sdk/client-s3";
import { utf8 } from "../../core/bytes.ts";
import { mapConcurrently } from "../../core/map-concurrently.ts";
import type { Attempt, Scene } from "./attempt.ts";
import { type Bench, lockHeaders, type Placed, sha256Base64 } from "./bench.ts";
import { type Answer, type Judgement, judgeVersions, worst } from "./judge.ts";

/** A race that is lost once in a while shows in one of so many. */
const ROUNDS = 5;
const WRITERS = ["a", "b", "c", "d"];

export const putWithoutChecksum: Attempt = (scene) => storesNothing(scene, {});

export const putWithWrongChecksum: Attempt = (scene) =>
  storesNothing(scene, { ChecksumSHA256: sha256Base64(utf8("other bytes")) });

export const conditionalPut: Attempt = async ({ writer, name }) => {
  return putOver(writer, await writer.place(name));
};

export const conditionalPutConcurrent: Attempt = async ({ writer, name }) => {
  const placed = await writer.place(name);
  const rounds = Array.from({ length: ROUNDS }, (_, round) => `${name}-${round}`);
  const judged: Judgement[] = [];
  for (const each of rounds) {
    const answers = await mapConcurrently(WRITERS, WRITERS.length, (body) =>
      putIfFree(writer, placed, each, body),
    );
    if (answers.every(isWithoutConditions)) return NO_CONDITIONS;
    const unclear = answers.find(({ kind }) => kind === "unknown") ?? { kind: "done" };
    judged.push(judgeVersions(await writer.countVersions(each), 1, unclear));
  }
  return worst({ verdict: "held", observed: "one version of each name" }, ...judged);
};

export const conditionalPutUnderMarker: Attempt = async ({ writer, name }) => {
  const placed = await writer.place(name);
  const hidden = await writer.hide(name);
  if (hidden.kind === "refused") {
    return { verdict: "held", observed: `a delete marker is refused (${hidden.code})` };
  }
  return putOver(writer, placed);
};

const NO_CONDITIONS: Judgement = {
  verdict: "not-supported",
  observed: "the server takes no conditions on a PUT",
};

async function putOver(writer: Bench, placed: Placed): Promise<Judgement> {
  const before = await writer.countVersions(placed.name);
  const answer = await putIfFree(writer, placed, placed.name, "other bytes");
  if (isWithoutConditions(answer)) return NO_CONDITIONS;
  return judgeVersions(await writer.countVersions(placed.name), before, answer);
}

function isWithoutConditions(answer: Answer): boolean {
  return answer.kind === "refused" && answer.code === "NotImplemented";
}

function putIfFree(writer: Bench, { lock }: Placed, name: string, text: string): Promise<Answer> {
  const body = utf8(text);
  return tryPut(writer, {
    ...writer.putInput(name, body),
    ...(lock && lockHeaders(writer.lockFor(writer.lockMs))),
    ChecksumSHA256: sha256Base64(body),
    IfNoneMatch: "*",
  });
}

async function storesNothing(
  { writer, name }: Scene,
  checksum: Pick<PutObjectCommandInput, "ChecksumSHA256">,
): Promise<Judgement> {
  const { lock } = await writer.place(`${name}-before`);
  const answer = await tryPut(writer, {
    ...writer.putInput(name, utf8("these bytes")),
    ...(lock && lockHeaders(writer.lockFor(writer.lockMs))),
    ...checksum,
  });
  return judgeVersions(await writer.countVersions(name), 0, answer);
}

function tryPut(writer: Bench, input: PutObjectCommandInput): Promise<Answer> {
  return writer.try((client) => client.send(new PutObjectCommand(input)));
}

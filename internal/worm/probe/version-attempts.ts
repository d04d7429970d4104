// Attempts on a locked version. Each makes one of its own, so that none meets what another has left.
import {
  DeleteObjectsCommand,
  type DeleteObjectsCommandOutput,
  PutObjectCommand,
  PutObjectRetentionCommand,
  type PutObjectRetentionCommandInput,
} from "@aws-sdk/client-s3";
import { utf8 } from "../../core/bytes.ts";
import type { Attempt, Scene } from "./attempt.ts";
import { lockHeaders, sha256Base64 } from "./bench.ts";
import { type Answer, type Judgement, judgeStored, judgeVersion, worst } from "./judge.ts";

const BYPASS = { BypassGovernanceRetention: true } as const;

export const lockStored: Attempt = async ({ writer, name }) => {
  const wanted = writer.lockFor(writer.lockMs);
  const placed = await writer.place(name);
  return judgeStored(placed.lock ?? wanted, await writer.look(placed));
};

export const overwrite: Attempt = (scene) =>
  onVersion(scene, ({ attacker, name }, { lock }) => {
    const body = utf8("other bytes");
    const input = {
      ...attacker.putInput(name, body),
      ...(lock && lockHeaders(lock)), // Without one it would be kept for as long as the bucket's default says.
      ChecksumSHA256: sha256Base64(body),
    };
    return attacker.try((client) => client.send(new PutObjectCommand(input)));
  });

export const deleteVersion: Attempt = (scene) =>
  onVersion(scene, ({ attacker }, placed) => attacker.delete(placed));

export const deleteVersionBypass: Attempt = (scene) =>
  onVersion(scene, ({ attacker }, placed) => attacker.delete(placed, BYPASS));

export const deleteMarker: Attempt = (scene) => onVersion(scene, ({ attacker, name }) => attacker.hide(name));

/** Two of them: there have been servers that checked the lock of the first alone. */
export const deleteInBulk: Attempt = async ({ writer, attacker, name }) => {
  const placed = [await writer.place(`${name}-1`), await writer.place(`${name}-2`)] as const;
  const Objects = placed.map(({ name: Key, versionId: VersionId }) => ({ Key, VersionId }));
  const command = new DeleteObjectsCommand({ Bucket: attacker.bucket, Delete: { Objects }, ...BYPASS });
  let refused: DeleteObjectsCommandOutput["Errors"];
  const answer = await attacker.try(async (client) => {
    refused = (await client.send(command)).Errors;
  });
  // The request succeeds when none of its deletions did.
  const [first] = refused ?? [];
  const said: Answer = first ? { kind: "refused", code: first.Code ?? "Error", reason: "request" } : answer;
  const [one, two] = placed;
  return worst(
    judgeVersion(one.lock, await writer.look(one), said),
    judgeVersion(two.lock, await writer.look(two), said),
  );
};

export const shortenRetention: Attempt = (scene) =>
  changeRetention(scene, ({ writer }) => ({
    Mode: "COMPLIANCE",
    RetainUntilDate: writer.lockFor(writer.lockMs / 2).until,
  }));

/** With a later end, which alone would be allowed. */
export const downgradeToGovernance: Attempt = (scene) =>
  changeRetention(scene, ({ writer }) => ({
    Mode: "GOVERNANCE",
    RetainUntilDate: writer.lockFor(2 * writer.lockMs).until,
  }));

export const removeRetention: Attempt = (scene) => changeRetention(scene, () => ({}));

export const governanceDelete: Attempt = (scene) =>
  onVersion(scene, ({ attacker }, placed) => attacker.delete(placed), { mode: "GOVERNANCE" });

export const governanceBypass: Attempt = (scene) =>
  onVersion(scene, ({ attacker }, placed) => attacker.delete(placed, BYPASS), { mode: "GOVERNANCE" });

async function onVersion(
  scene: Scene,
  attack: (scene: Scene, placed: Awaited<ReturnType<Scene["writer"]["place"]>>) => Promise<Answer>,
  options?: Parameters<Scene["writer"]["place"]>[1],
): Promise<Judgement> {
  const { writer, name } = scene;
  const placed = await writer.place(name, options);
  const answer = await attack(scene, placed);
  return judgeVersion(placed.lock, await writer.look(placed), answer);
}

function changeRetention(
  scene: Scene,
  retention: (scene: Scene) => NonNullable<PutObjectRetentionCommandInput["Retention"]>,
): Promise<Judgement> {
  return onVersion(scene, ({ attacker }, placed) => {
    const input = { ...attacker.target(placed), ...BYPASS, Retention: retention(scene) };
    return attacker.try((client) => client.send(new PutObjectRetentionCommand(input)));
  });
}

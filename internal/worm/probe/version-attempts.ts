// Attempts on a locked version. Each makes one of its own, so that none meets what another has left.
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  type DeleteObjectsCommandOutput,
  PutObjectCommand,
  PutObjectRetentionCommand,
  type PutObjectRetentionCommandInput,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { utf8 } from "../../core/bytes.ts";
import type { Attempt, Scene } from "./attempt.ts";
import { lockHeaders, type Placed, type PlaceOptions, sha256Base64 } from "./bench.ts";
import {
  type Answer,
  isDenied,
  type Judgement,
  judgeStored,
  judgeVersion,
  refusedWith,
  withDoubt,
  worst,
} from "./judge.ts";

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

export const copyOver: Attempt = (scene) =>
  onVersion(scene, async ({ writer, attacker, name }, { lock }) => {
    const source = await writer.place(`${name}-source`);
    const input = {
      Bucket: attacker.bucket,
      Key: name,
      CopySource: `${attacker.bucket}/${source.name}`, // No character of it needs the encoding that this is to have.
      ...(lock && lockHeaders(lock)),
    };
    return attacker.try((client) => client.send(new CopyObjectCommand(input)));
  });

/** The name is given when an upload begins, and taken when it is completed: two places where a lock could be forgotten. */
export const multipartOver: Attempt = (scene) =>
  onVersion(scene, async ({ attacker, name }, { lock }) => {
    const target = { Bucket: attacker.bucket, Key: name };
    let UploadId: string | undefined;
    const begin = new CreateMultipartUploadCommand({
      ...target,
      ...(lock && lockHeaders(lock)),
      ChecksumAlgorithm: "SHA256",
    });
    const begun = await attacker.try(async (client) => {
      UploadId = (await client.send(begin)).UploadId;
    });
    if (begun.kind !== "done") return begun;

    const body = utf8("other bytes");
    const part = { PartNumber: 1, ChecksumSHA256: sha256Base64(body) };
    let ETag: string | undefined;
    const upload = new UploadPartCommand({ ...target, UploadId, ...part, Body: body });
    const uploaded = await attacker.try(async (client) => {
      ETag = (await client.send(upload)).ETag;
    });
    const complete = new CompleteMultipartUploadCommand({
      ...target,
      UploadId,
      MultipartUpload: { Parts: [{ ...part, ETag }] },
    });
    const completed =
      uploaded.kind === "done" ? await attacker.try((client) => client.send(complete)) : uploaded;
    if (completed.kind !== "done") {
      // What was uploaded would be kept, and paid for, until somebody looks for it.
      const abort = new AbortMultipartUploadCommand({ ...target, UploadId });
      await attacker.try((client) => client.send(abort));
    }
    return completed;
  });

export const deleteVersion: Attempt = (scene) =>
  onLock(scene, ({ attacker }, placed) => attacker.delete(placed));

export const deleteVersionBypass: Attempt = (scene) =>
  onLock(scene, ({ attacker }, placed) => attacker.delete(placed, BYPASS));

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
  const said = first ? refusedWith(first.Code) : answer;
  const [one, two] = placed;
  const judgement = worst(
    judgeVersion(one.lock, await writer.look(one), said),
    judgeVersion(two.lock, await writer.look(two), said),
  );
  return withDoubt(judgement, said);
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
  onLock(scene, ({ attacker }, placed) => attacker.delete(placed), { mode: "GOVERNANCE" });

export const governanceBypass: Attempt = (scene) =>
  onVersion(scene, ({ attacker }, placed) => attacker.delete(placed, BYPASS), { mode: "GOVERNANCE" });

type Attack = (scene: Scene, placed: Placed) => Promise<Answer>;

async function onVersion(scene: Scene, attack: Attack, options?: PlaceOptions): Promise<Judgement> {
  return (await attempt(scene, attack, options)).judgement;
}

/** What only the lock is to prevent. */
async function onLock(scene: Scene, ...attack: [Attack, PlaceOptions?]): Promise<Judgement> {
  const { judgement, answer } = await attempt(scene, ...attack);
  return withDoubt(judgement, answer);
}

async function attempt(scene: Scene, attack: Attack, options?: PlaceOptions) {
  const { writer, name } = scene;
  const placed = await writer.place(name, options);
  const answer = await attack(scene, placed);
  return { judgement: judgeVersion(placed.lock, await writer.look(placed), answer), answer };
}

/**
 * With the header that bypasses governance and without it: who has no right to bypass ends with it at that right, and
 * without it at the lock.
 */
async function changeRetention(
  scene: Scene,
  retention: (scene: Scene) => NonNullable<PutObjectRetentionCommandInput["Retention"]>,
): Promise<Judgement> {
  const change = (name: string, bypass: object) =>
    attempt({ ...scene, name }, ({ attacker }, placed) => {
      const input = { ...attacker.target(placed), ...bypass, Retention: retention(scene) };
      return attacker.try((client) => client.send(new PutObjectRetentionCommand(input)));
    });
  const plain = await change(scene.name, {});
  const bypassed = await change(`${scene.name}-bypass`, BYPASS);
  // Of two that held, the one that the lock itself refused says more.
  const [first, second] = isDenied(plain.answer) ? [bypassed, plain] : [plain, bypassed];
  return withDoubt(worst(first.judgement, second.judgement), plain.answer, bypassed.answer);
}

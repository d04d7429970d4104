import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  GetObjectRetentionCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  type S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { concat } from "../core/bytes.ts";
import {
  MAX_OBJECT_BYTES,
  ObjectArchivedError,
  ObjectCorruptError,
  type ObjectInfo,
} from "./object-store.ts";

/** What S3 calls a version of an object. */
export interface VersionName {
  readonly Bucket: string;
  readonly Key: string;
  readonly VersionId: string;
}

/** The bytes of a version, with the checksum that S3 has of them verified; undefined when there is none. */
export async function readVersion(
  client: S3Client,
  key: string,
  version: VersionName,
): Promise<Uint8Array | undefined> {
  try {
    return await readBody(
      key,
      await client.send(new GetObjectCommand({ ...version, ChecksumMode: "ENABLED" })),
    );
  } catch (error) {
    if (hasName(error, "InvalidObjectState")) throw new ObjectArchivedError(key);
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** What S3 says of a version; undefined when there is none. */
export async function headVersion(
  client: S3Client,
  key: string,
  version: VersionName,
): Promise<ObjectInfo | undefined> {
  try {
    const head = await client.send(new HeadObjectCommand({ ...version, ChecksumMode: "ENABLED" }));
    const info = infoOf(key, version, head);
    return info.retention ? info : { ...info, retention: await retentionOf(client, version) };
  } catch (error) {
    if (isMissing(error) || hasName(error, "NotFound")) return undefined; // A HEAD's 404 has no other word.
    if (await isMissingByGet(client, version, error)) return undefined;
    throw error;
  }
}

/**
 * A HEAD says nothing of a lock to those who may not ask for it (S3), and some servers say nothing of the lock on a
 * version that is not the latest. Asked for the lock itself, they answer, or refuse to.
 */
async function retentionOf(client: S3Client, version: VersionName): Promise<ObjectInfo["retention"]> {
  try {
    const { Retention: retention = {} } = await client.send(new GetObjectRetentionCommand(version));
    const { Mode: mode, RetainUntilDate: until } = retention;
    return mode === undefined || until === undefined ? null : { mode, until };
  } catch (error) {
    // The second: a bucket without Object Lock.
    if (hasName(error, "NoSuchObjectLockConfiguration", "InvalidRequest")) return null;
    throw error;
  }
}

/**
 * A refused HEAD has no body and so no reason: expired credentials and a malformed version are both "400". The same
 * question as a GET is answered in words, which are thrown.
 */
async function isMissingByGet(client: S3Client, version: VersionName, error: unknown): Promise<boolean> {
  if (!(error instanceof S3ServiceException) || ![400, 403].includes(error.$metadata.httpStatusCode ?? 0)) {
    return false;
  }
  try {
    const { Body: body } = await client.send(new GetObjectCommand({ ...version, Range: "bytes=0-0" }));
    await body?.transformToByteArray();
    return false;
  } catch (reason) {
    if (isMissing(reason)) return true;
    throw hasName(reason, "InvalidRange", "InvalidObjectState") ? error : reason;
  }
}

function infoOf(key: string, { VersionId }: VersionName, head: HeadObjectCommandOutput): ObjectInfo {
  const { ObjectLockMode: mode, ObjectLockRetainUntilDate: until, ChecksumSHA256: checksum } = head;
  return {
    key,
    versionId: head.VersionId ?? VersionId,
    bytes: head.ContentLength ?? 0,
    // That of a multipart upload ends in the number of its parts and is not of the object's bytes.
    sha256: checksum?.length === 44 ? Buffer.from(checksum, "base64").toString("hex") : undefined,
    retention: mode === undefined || until === undefined ? null : { mode, until },
    access: accessOf(head),
    storageClass: head.StorageClass ?? "STANDARD", // S3 says nothing of its standard class.
  };
}

/** See "x-amz-restore" and "x-amz-archive-status" of HeadObject in the S3 API reference. */
function accessOf({ StorageClass: storageClass, ArchiveStatus, Restore = "" }: HeadObjectCommandOutput) {
  const cold = storageClass === "GLACIER" || storageClass === "DEEP_ARCHIVE" || ArchiveStatus !== undefined;
  if (!cold || Restore.includes('ongoing-request="false"')) return "available";
  return Restore.includes('ongoing-request="true"') ? "restoring" : "archived";
}

async function readBody(
  key: string,
  { Body: body, ContentLength }: GetObjectCommandOutput,
): Promise<Uint8Array> {
  if (body === undefined) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let bytes = 0;
  try {
    // In Node the SDK's stream of a body is a Readable of Buffers; its type also covers browsers.
    for await (const part of body as AsyncIterable<Uint8Array>) {
      bytes += part.length;
      // Leaving the loop closes the connection.
      if (bytes > MAX_OBJECT_BYTES) throw new ObjectCorruptError(key, "is longer than an object can be");
      parts.push(part);
    }
  } catch (error) {
    // The SDK's words. It has compared with whichever checksum S3 keeps of the object.
    if (error instanceof Error && error.message.startsWith("Checksum mismatch")) {
      throw new ObjectCorruptError(key, "does not have the checksum that S3 keeps of it");
    }
    throw error;
  }
  if (ContentLength !== undefined && ContentLength !== bytes) throw new Error("the answer was cut off");
  return concat(...parts);
}

/**
 * There is no such object or version, in words of S3's own: a 404 without them may be a proxy's. A delete marker has a
 * version of its own, which is no object (405).
 */
function isMissing(error: unknown): boolean {
  if (!(error instanceof S3ServiceException)) return false;
  if (["NoSuchKey", "NoSuchVersion", "MethodNotAllowed"].includes(error.name)) return true;
  // A version id that this server cannot have given.
  return error.name === "InvalidArgument" && /version/i.test(error.message);
}

function hasName(error: unknown, ...names: readonly string[]): boolean {
  return error instanceof S3ServiceException && names.includes(error.name);
}

// What somebody keeps, to check a vote with: promises and receipts, a manifest, a policy of witnesses.
import { open } from "node:fs/promises";
import { MAX_MANIFEST_BYTES, type Manifest, parseManifest } from "../ballot/manifest.ts";
import { messageOf } from "../core/errors.ts";
import { MAX_POLICY_BYTES, parseWitnessPolicy, type WitnessPolicy } from "../tlog/witness-policy.ts";
import { UsageError } from "./exit-code.ts";

/** A file's bytes, or of a longer one just enough to show that it is too long. Throws a UsageError if it cannot be read. */
export async function readVoterFile(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    await using file = await open(path, "r");
    const parts: Uint8Array[] = [];
    // `end` is included, so that this is one byte more.
    for await (const part of file.createReadStream({ end: maxBytes })) parts.push(part);
    return Buffer.concat(parts);
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

export async function readManifestFile(path: string): Promise<Manifest> {
  const bytes = await readVoterFile(path, MAX_MANIFEST_BYTES);
  try {
    return parseManifest(bytes);
  } catch (error) {
    throw new UsageError(`${path} is not an election's manifest: ${messageOf(error)}`, { cause: error });
  }
}

/** The policy in a file; undefined where none was named. */
export async function readPolicyFile(path: string | undefined): Promise<WitnessPolicy | undefined> {
  if (path === undefined) return undefined;
  const bytes = await readVoterFile(path, MAX_POLICY_BYTES);
  try {
    return parseWitnessPolicy(bytes);
  } catch (error) {
    throw new UsageError(`${path} is not a policy: ${messageOf(error)}`, { cause: error });
  }
}

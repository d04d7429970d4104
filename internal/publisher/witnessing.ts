import { open } from "node:fs/promises";
import { decodeUtf8 } from "../core/bytes.ts";
import { MAX_POLICY_BYTES, parseWitnessPolicy, type WitnessPolicy } from "../tlog/witness-policy.ts";

/** What of a log's checkpoints is shown, and when. */
export interface Witnessing {
  /** Its witnesses with a URL are asked. Its logs are not looked at: a Publisher knows its own. */
  readonly policy: WitnessPolicy;
  /** The policy as it was written, for the public to see. */
  readonly policyText: string;
  /** How long a checkpoint waits for a quorum, unless it is required. */
  readonly timeoutMs: number;
  /** Whether a checkpoint without a quorum is never shown. */
  readonly required: boolean;
}

/** Reads the policy that a Publisher's configuration names. Throws where no answers of its witnesses would be a quorum. */
export async function loadWitnessing(config: {
  readonly policy_file: string;
  readonly timeout_ms: number;
  readonly required: boolean;
}): Promise<Witnessing> {
  const path = config.policy_file;
  const { policy, policyText } = await readPolicy(path);
  const asked = policy.witnesses.filter(({ url }) => url !== undefined);
  if (asked.length === 0) throw new Error(`${path} has no witness with a URL to submit checkpoints to`);
  if (!policy.isSatisfiedBy(asked.map(({ verifier }) => verifier))) {
    throw new Error(`${path}: the witnesses that have a URL are together no quorum`);
  }
  return { policy, policyText, timeoutMs: config.timeout_ms, required: config.required };
}

async function readPolicy(path: string): Promise<Pick<Witnessing, "policy" | "policyText">> {
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_POLICY_BYTES + 1), 0, MAX_POLICY_BYTES + 1);
  try {
    const bytes = buffer.subarray(0, bytesRead);
    return { policy: parseWitnessPolicy(bytes), policyText: decodeUtf8(bytes) };
  } catch (error) {
    throw new Error(`${path} cannot be used`, { cause: error });
  }
}

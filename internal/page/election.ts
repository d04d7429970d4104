// What the page reads of a log server: its list of elections, and of one election everything that does not change.
import { type Manifest, parseManifest } from "../ballot/manifest.ts";
import { decodeUtf8, utf8 } from "../core/bytes.ts";
import { type ElectionId, isElectionId } from "../core/ids.ts";
import { readAtMost } from "../core/read-body.ts";
import { type Hash, sha256 } from "../core/sha256.ts";
import { readKeyChanges } from "../evidence/key-change.ts";
import type { LogKeys } from "../tlog/log-keys.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import type { TileFetch } from "../tlog/tile-fetch.ts";
import { parseWitnessPolicy, type WitnessPolicy } from "../tlog/witness-policy.ts";
import { httpSource } from "../verify/http-source.ts";

export interface Election {
  readonly id: ElectionId;
  /** Where the folders of elections are, with a slash at the end. */
  readonly base: string;
  readonly manifest: Manifest;
  readonly manifestHash: Hash;
  /** The key that the manifest names: everything else follows from it. */
  readonly key: NoteVerifier;
  /** Who should cosign, where the log says so. */
  readonly policy: WitnessPolicy | undefined;
  /** Within how many seconds of a vote the log promises a checkpoint. */
  readonly maximumDelayS: number;
}

/** Of a Publisher, unless it says otherwise. */
const DEFAULT_DELAY_S = 60;
const MAX_INDEX_BYTES = 1 << 20;

/** An address within an election's public log. */
export function addressOf({ base, id }: Pick<Election, "base" | "id">, path: string): string {
  return new URL(`${id}/${path}`, base).href;
}

/**
 * Reads an election's files. Each undertaking takes one of its own, since a source that failed often enough is not asked
 * any more.
 */
export function sourceOf({ base, id }: Pick<Election, "base" | "id">): TileFetch {
  return httpSource(base, id, { attempts: 3, timeoutMs: 10_000 });
}

/** The log's keys up to now: the manifest's, and those that changes of key led to. */
export function readKeys({ key }: Election, source: TileFetch): Promise<LogKeys> {
  return readKeyChanges(key, source);
}

export async function listElections(base: string): Promise<ElectionId[]> {
  const response = await fetch(new URL("index.json", base), { cache: "no-store" });
  if (!response.ok) throw new Error(`index.json: HTTP status ${response.status}`);
  const { elections } = JSON.parse(
    decodeUtf8((await readAtMost(response.body, MAX_INDEX_BYTES)) ?? utf8("{}")),
  );
  if (!Array.isArray(elections)) throw new Error("index.json lists no elections");
  return elections.map((election) => String(election?.election_id)).filter(isElectionId);
}

export async function openElection(base: string, id: ElectionId): Promise<Election> {
  const source = sourceOf({ base, id });
  const [manifestBytes, description] = await Promise.all([source("manifest.json"), source("log.json")]);
  if (!manifestBytes) throw new Error(`${id} has no manifest here`);
  const manifest = parseManifest(manifestBytes);
  if (manifest.electionId !== id) throw new Error(`the manifest is of the election ${manifest.electionId}`);
  return {
    ...{ id, base, manifest, manifestHash: sha256(manifestBytes) },
    key: NoteVerifier.parse(manifest.logKey),
    ...readDescription(description),
  };
}

/** log.json is not signed: what it says decides nothing, and what cannot be read of it is left out. */
function readDescription(bytes: Uint8Array | undefined): Pick<Election, "policy" | "maximumDelayS"> {
  const { witness_policy: policy, maximum_delay_s: delay } = parseJson(bytes) ?? {};
  return {
    policy: typeof policy === "string" ? readPolicy(policy) : undefined,
    maximumDelayS: Number.isSafeInteger(delay) ? Number(delay) : DEFAULT_DELAY_S,
  };
}

function parseJson(bytes: Uint8Array | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = bytes && JSON.parse(decodeUtf8(bytes));
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function readPolicy(text: string): WitnessPolicy | undefined {
  try {
    return parseWitnessPolicy(utf8(text));
  } catch {
    return undefined;
  }
}

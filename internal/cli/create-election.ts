import { mkdir, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Election } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import {
  type Choice,
  encodeManifest,
  type Manifest,
  type PromiseTerms,
  parseManifest,
} from "../ballot/manifest.ts";
import { nameOfKey, promiseKeyName } from "../ballot/manifest-json.ts";
import { generateTallyKeyPair } from "../ballot/tally-key.ts";
import { encodeTallyShare, splitTallyKey } from "../ballot/trustees.ts";
import { equalBytes } from "../core/bytes.ts";
import { type ErrorKind, messageOf, ServiceError } from "../core/errors.ts";
import type { ElectionId } from "../core/ids.ts";
import { ALGORITHM_ED25519, verifierKey } from "../tlog/note-verifier.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit-code.ts";

export interface NewElection {
  readonly electionId: ElectionId;
  readonly title: string;
  readonly choices: readonly Choice[];
  readonly shards?: number | undefined;
  readonly revoting?: Manifest["revoting"] | undefined;
  /** Microseconds since 1970; now unless given. */
  readonly opensAt?: number | undefined;
  readonly closesAt?: number | undefined;
  readonly trustees?: Manifest["trustees"] | undefined;
  /** Within how many seconds a vote is promised to be in the log: a day unless given; null for no promises. */
  readonly promiseDelay?: number | null | undefined;
  /** A folder, made here, for the trustees' shares, one file each, and the manifest that they belong to. */
  readonly trusteesFolder: string;
}

/** The manifest beside the shares, as it was sent. */
const MANIFEST_FILE = "manifest.json";

/** A log is half a second behind. A day leaves time for people to put right what stopped it. */
const PROMISE_DELAY_SECONDS = 86_400;

/** What the deployment's services say goes into a manifest. */
interface DeploymentKeys {
  readonly logKey: string;
  readonly promises: PromiseTerms | undefined;
}

/**
 * Creates an election. The tally key is made here, split among the trustees and forgotten: no service ever has it, and
 * from the moment the share files leave their folder nobody can open a vote alone.
 *
 * Everything is on disk before the election is asked for: one whose shares were lost could never be counted. So a call
 * that was cut off, whatever became of the election, is finished by the same call.
 */
export async function createElection(context: CliContext, options: NewElection): Promise<Election> {
  const folder = options.trusteesFolder;
  const earlier = await readIfThere(join(folder, MANIFEST_FILE));
  const keys = await deploymentKeys(context, options);
  const manifest = earlier ? sameManifest(earlier, options, keys) : await writeShares(options, keys);
  try {
    const { election } = await context.elections("operator").createElection({ manifest });
    if (!election) throw new Error("the service answered without an election");
    return election;
  } catch (error) {
    // Refused for good, the shares are good for nothing, and would be in the way of the next attempt. After any other
    // failure the election may be there, even open, and nothing but these can count it.
    if (!earlier && isRefusal(error)) await rm(folder, { recursive: true });
    throw error;
  }
}

async function deploymentKeys(context: CliContext, options: NewElection): Promise<DeploymentKeys> {
  const { electionId, promiseDelay } = options;
  const { verifierKey: logKey } = await context.digests("operator").getLogKey({ electionId });
  if (promiseDelay === null) return { logKey, promises: undefined };
  const publicKey = await promiseKey(context);
  if (publicKey === undefined) {
    if (promiseDelay === undefined) return { logKey, promises: undefined };
    throw new UsageError(
      "this deployment makes no promises: leave --promise-delay out, or give VoteService a promise_key_file",
    );
  }
  const key = verifierKey(promiseKeyName(nameOfKey(logKey)), ALGORITHM_ED25519, publicKey);
  return { logKey, promises: { key, delaySeconds: promiseDelay ?? PROMISE_DELAY_SECONDS } };
}

async function promiseKey(context: CliContext): Promise<Uint8Array | undefined> {
  try {
    return (await context.elections("operator").getPromiseKey({})).publicKey;
  } catch (error) {
    if (error instanceof ServiceError && error.reason === "NO_PROMISE_KEY") return undefined;
    throw error;
  }
}

/** Whether the service says that it stored nothing. */
function isRefusal(error: unknown): boolean {
  const refusals: readonly ErrorKind[] = ["invalid-argument", "already-exists", "permission-denied"];
  return error instanceof ServiceError && refusals.includes(error.kind);
}

function manifestOf(
  options: NewElection,
  made: DeploymentKeys & { readonly tallyKey: Uint8Array; readonly opensAt: number },
): Manifest {
  return {
    electionId: options.electionId,
    title: options.title,
    choices: options.choices,
    shards: options.shards ?? 16,
    revoting: options.revoting ?? "forbidden",
    opensAt: options.opensAt ?? made.opensAt,
    closesAt: options.closesAt ?? null,
    tallyKey: made.tallyKey,
    trustees: options.trustees ?? { shares: 3, threshold: 2 },
    logKey: made.logKey,
    promises: made.promises,
  };
}

/** Makes the tally key, and the trustees' folder with its shares. The folder gets its name last, when it is complete. */
async function writeShares(options: NewElection, keys: DeploymentKeys): Promise<Uint8Array> {
  const { electionId, trusteesFolder: folder } = options;
  const keyPair = generateTallyKeyPair();
  const manifest = manifestOf(options, {
    tallyKey: keyPair.publicKey,
    opensAt: Date.now() * 1000,
    ...keys,
  });
  const bytes = encodeManifest(manifest);
  const shares = await splitTallyKey({ electionId, keyPair, trustees: manifest.trustees });
  keyPair.privateKey.fill(0);

  const unfinished = `${folder}.unfinished`;
  try {
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished, { recursive: true, mode: 0o700 });
    const write = (name: string, body: Uint8Array) =>
      writeFile(join(unfinished, name), body, { mode: 0o600, flush: true });
    for (const share of shares) await write(`share-${share.number}.json`, encodeTallyShare(share));
    await write(MANIFEST_FILE, bytes);
    await flushFolder(unfinished);
    // Fails where there is something in a folder of that name: no share is ever overwritten.
    await rename(unfinished, folder);
    await flushFolder(dirname(folder));
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw new UsageError(
      `the trustees' shares cannot be written to ${folder} (${messageOf(error)}), and the election was not created: ` +
        "name a new folder with --trustees-out",
      { cause: error },
    );
  }
  return bytes;
}

/** The manifest of an attempt before this one, if that was to create the same election. */
function sameManifest(earlier: Uint8Array, options: NewElection, keys: DeploymentKeys): Uint8Array {
  const { tallyKey, opensAt } = parseManifest(earlier);
  if (equalBytes(encodeManifest(manifestOf(options, { tallyKey, opensAt, ...keys })), earlier))
    return earlier;
  throw new UsageError(
    `${options.trusteesFolder} has the shares of another election, or of this one with other settings: name another ` +
      "folder with --trustees-out",
  );
}

async function readIfThere(file: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

async function flushFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

/** Reads a file of choices: JSON, a list of `{"id", "name"}`. */
export async function readChoices(file: string): Promise<Choice[]> {
  const text = await readFile(file, "utf8").catch((error) => {
    throw new UsageError(`${file}: ${messageOf(error)}`, { cause: error });
  });
  try {
    const list: unknown = JSON.parse(text);
    if (!Array.isArray(list)) throw new Error();
    return list.map((item) => {
      if (typeof item?.id !== "string" || typeof item?.name !== "string") throw new Error();
      return { id: item.id, name: item.name };
    });
  } catch {
    throw new UsageError(`${file} must be a JSON list of {"id": "…", "name": "…"}`);
  }
}

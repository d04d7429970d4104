import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Election, ElectionState } from "../../../gen/ts/psephos/vote/v1/election_pb.js";
import { type Choice, encodeManifest, type Manifest, parseManifest } from "../../ballot/manifest.ts";
import { generateTallyKeyPair } from "../../ballot/tally-key.ts";
import { encodeTallyShare, splitTallyKey } from "../../ballot/trustees.ts";
import { toHex } from "../../core/bytes.ts";
import type { ElectionId } from "../../core/ids.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit-code.ts";
import { formatTable } from "../terminal.ts";

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
  /** A folder for the trustees' shares, one file each. It is made; a share that is there is never overwritten. */
  readonly trusteesFolder: string;
}

/**
 * Creates an election. The tally key is made here, split among the trustees and forgotten: no service ever has it, and
 * from the moment the share files leave this folder nobody can open a vote alone.
 */
export async function createElection(context: CliContext, options: NewElection): Promise<Election> {
  const { electionId } = options;
  const trustees = options.trustees ?? { shares: 3, threshold: 2 };
  const { verifierKey } = await context.digests("operator").getLogKey({ electionId });
  const keyPair = generateTallyKeyPair();
  const manifest: Manifest = {
    electionId,
    title: options.title,
    choices: options.choices,
    shards: options.shards ?? 16,
    revoting: options.revoting ?? "forbidden",
    opensAt: options.opensAt ?? Date.now() * 1000,
    closesAt: options.closesAt ?? null,
    tallyKey: keyPair.publicKey,
    trustees,
    logKey: verifierKey,
  };
  const bytes = encodeManifest(manifest);
  // The shares first: an election whose shares were not written could never be counted.
  await writeShares(options.trusteesFolder, await splitTallyKey({ electionId, keyPair, trustees }));
  keyPair.privateKey.fill(0);
  const { election } = await context.elections("operator").createElection({ manifest: bytes });
  return present(election);
}

async function writeShares(folder: string, shares: Awaited<ReturnType<typeof splitTallyKey>>): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const share of shares) {
    const file = join(folder, `share-${share.number}.json`);
    try {
      await writeFile(file, encodeTallyShare(share), { flag: "wx", mode: 0o600, flush: true });
    } catch (error) {
      throw new UsageError(
        `${file} cannot be written, and the election was not created: a share is never overwritten, so name another ` +
          `folder with --trustees-out`,
        { cause: error },
      );
    }
  }
}

/** Reads a file of choices: JSON, a list of `{"id", "name"}`. */
export async function readChoices(file: string): Promise<Choice[]> {
  const text = await readFile(file, "utf8").catch((error) => {
    throw new UsageError(`${file} cannot be read`, { cause: error });
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

export async function closeElection(context: CliContext, electionId: ElectionId): Promise<Election> {
  const { election } = await context
    .elections("operator")
    .closeElection({ electionId }, { timeoutMs: 60_000 });
  return present(election);
}

export async function showElection(context: CliContext, electionId: ElectionId): Promise<Election> {
  const { election } = await context.elections("operator").getElection({ electionId });
  return present(election);
}

export async function listElections(context: CliContext): Promise<readonly Election[]> {
  return (await context.elections("operator").listElections({})).elections;
}

/** An election as `--json` shows it. */
export function electionJson(election: Election): object {
  return {
    election_id: election.electionId,
    state: stateName(election),
    votes: Number(election.votes),
    manifest_hash: toHex(election.manifestHash),
    manifest: JSON.parse(new TextDecoder().decode(election.manifest)),
  };
}

/** An election as people read it. */
export function describeElection(election: Election): string {
  const manifest = parseManifest(election.manifest);
  return formatTable([
    ["election", election.electionId],
    ["title", manifest.title],
    ["state", stateName(election)],
    ["votes", String(election.votes)],
    ["choices", String(manifest.choices.length)],
    ["shards", String(manifest.shards)],
    ["re-voting", manifest.revoting],
    ["opens", new Date(manifest.opensAt / 1000).toISOString()],
    [
      "closes",
      manifest.closesAt === null
        ? "when an operator closes it"
        : new Date(manifest.closesAt / 1000).toISOString(),
    ],
    ["trustees", `${manifest.trustees.threshold} of ${manifest.trustees.shares}`],
    ["log key", manifest.logKey],
    ["manifest hash", toHex(election.manifestHash)],
  ]);
}

function stateName({ state }: Election): string {
  return (ElectionState[state] ?? "unknown").toLowerCase();
}

function present(election: Election | undefined): Election {
  if (!election) throw new Error("the service answered without an election");
  return election;
}

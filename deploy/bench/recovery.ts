// How long `psephos restore` takes: evidence of so many votes, as AuditService writes it, into empty databases. Beside it, in
// the same run, what Postgres takes for the same rows when nothing is read or verified: the least that any recovery takes.
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { VoteRecord } from "../../internal/ballot/record.ts";
import { utf8 } from "../../internal/core/bytes.ts";
import { systemClock } from "../../internal/core/clock.ts";
import { electionId, shardId } from "../../internal/core/ids.ts";
import { sha256 } from "../../internal/core/sha256.ts";
import { PostgresRestoreInstance } from "../../internal/postgres/restore-instance.ts";
import { restore } from "../../internal/restore/restore.ts";
import { createLogger } from "../../internal/telemetry/logger.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import { DevelopmentCa } from "../local/dev-ca.ts";
import { PortBook } from "../local/ports.ts";
import { LocalPostgres } from "../local/postgres.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { SHARDS, writeEvidence } from "./evidence.ts";
import { rounded, type Section, say } from "./section.ts";

interface RecoveryResult {
  readonly votes: number;
  readonly verifySeconds: number;
  readonly loadSeconds: number;
  /** For the rows alone. */
  readonly rowSeconds: number;
  /** Of this process, for the recovery. */
  readonly cpuSeconds: number;
  /** Of evidence, on disk. */
  readonly evidenceBytes: number;
}

const ID = electionId("recovery");
const INSTANCES = 2;
const VOTES = 1_000_000;

export const recovery: Section = {
  name: "recovery",
  heading: "Recovery",
  async measure() {
    const result = await measureRecovery(VOTES);
    return { markdown: report(result), json: result };
  },
};

function report(result: RecoveryResult): string {
  const { votes, verifySeconds, loadSeconds, rowSeconds, cpuSeconds, evidenceBytes } = result;
  const seconds = verifySeconds + loadSeconds;
  return `\`psephos restore\` of an election of ${votes.toLocaleString("en-US")} votes (${SHARDS} shards, ${(evidenceBytes / votes).toFixed(0)} bytes a vote of
evidence in a directory) into ${INSTANCES} empty Postgres instances on the same machine. Beside it, in the same run, what the
instances take for as many rows alone, with nothing read or verified and with their indexes in place.

| what | seconds | votes/s |
|---|---|---|
| the whole recovery | ${seconds.toFixed(0)} | ${rounded(votes / seconds)} |
| of it: reading and verifying all of the evidence | ${verifySeconds.toFixed(0)} | ${rounded(votes / verifySeconds)} |
| of it: reading it again; records, indexes, tiles, heads | ${loadSeconds.toFixed(0)} | ${rounded(votes / loadSeconds)} |
| the rows alone | ${rowSeconds.toFixed(0)} | ${rounded(votes / rowSeconds)} |

The whole recovery takes **${(seconds / rowSeconds).toFixed(1)}** times as long as its rows alone; the command itself uses ${cpuSeconds.toFixed(0)} s of one core.`;
}

async function measureRecovery(votes: number): Promise<RecoveryResult> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await TemporaryFolder.create()).path;

  say(`evidence of ${votes} votes`);
  const evidence = new DirectoryStore({ directory: join(folder, "evidence") });
  const { checkpoint, bytes } = await writeEvidence(evidence, ID, votes);

  say("recovery");
  const ports = resources.use(await PortBook.open(join(folder, "ports.json")));
  const ca = await DevelopmentCa.open(join(folder, "tls"));
  const instances = new Map<string, PostgresRestoreInstance>();
  for (let index = 0; index < INSTANCES; index++) {
    const name = `pg${index}`;
    const port = await ports.port(name);
    const server = resources.use(new LocalPostgres({ name, folder: join(folder, name), port, ca }));
    await server.start();
    const { user: _, ...connection } = await server.connection("psephos_owner");
    const logger = createLogger({ service: "bench", level: "silent" });
    instances.set(
      name,
      resources.use(new PostgresRestoreInstance({ connection: { name, ...connection }, logger })),
    );
  }
  const cpu = process.cpuUsage();
  const result = await restore({
    elections: [
      { electionId: ID, checkpoints: [{ name: "the checkpoint", note: checkpoint }], logKey: undefined },
    ],
    evidence,
    tiles: new DirectoryStore({ directory: join(folder, "tiles") }),
    instances,
    publisher: undefined,
    place: (shards) => Array.from({ length: shards }, (_, shard) => `pg${shard % INSTANCES}`),
    clock: systemClock,
    signal: new AbortController().signal,
    progress: { verified: () => {}, loaded: () => {}, indexing: () => {}, leftShut: () => {} },
    confirm: async () => true,
  });
  if (result?.elections[0]?.written !== votes) throw new Error("not all votes were written");

  const { user, system } = process.cpuUsage(cpu);

  say("the rows alone");
  const rowSeconds = await loadRows([...instances.values()], votes);
  const { verifySeconds, loadSeconds } = result;
  const cpuSeconds = (user + system) / 1e6;
  return { votes, verifySeconds, loadSeconds, rowSeconds, cpuSeconds, evidenceBytes: bytes };
}

/** Rows of another election, made as they are sent, each instance with two statements at work. */
async function loadRows(instances: readonly PostgresRestoreInstance[], votes: number): Promise<number> {
  const BATCH = 2_000;
  const bytes = randomBytes(BATCH * 127);
  const started = performance.now();
  await Promise.all(
    instances.flatMap((instance, index) =>
      Array.from({ length: instance.lanes }, async (_, lane) => {
        const shard = shardId(index * instance.lanes + lane);
        const rows = votes / (instances.length * instance.lanes);
        for (let first = 1; first <= rows; first += BATCH) {
          const records = Array.from({ length: Math.min(BATCH, rows - first + 1) }, (_, i) =>
            randomRecord(shard, first + i, bytes.subarray(i * 127, (i + 1) * 127)),
          );
          await instance.insert(2, records);
        }
      }),
    ),
  );
  return (performance.now() - started) / 1000;
}

function randomRecord(shard: VoteRecord["shard"], sequence: number, bytes: Uint8Array): VoteRecord {
  return {
    shard,
    sequence: sequence as VoteRecord["sequence"], // It counts from 1.
    voterPseudonym: sha256(utf8(`${shard} ${sequence}`)),
    revision: 1,
    sealedChoice: bytes.subarray(32, 95),
    castAt: 1_780_000_000_000_000,
    hash: sha256(bytes.subarray(95, 127)),
  };
}

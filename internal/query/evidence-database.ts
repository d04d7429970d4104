import {
  BIGINT,
  BLOB,
  type DuckDBAppender,
  DuckDBBlobValue,
  DuckDBDataChunk,
  DuckDBTimestampValue,
  type DuckDBType,
  type DuckDBValue,
  INTEGER,
  TIMESTAMP,
  VARCHAR,
} from "@duckdb/node-api";
import { toHex } from "../core/bytes.ts";
import { type Sequence, type ShardId, sequence, shardId, voteIdOf } from "../core/ids.ts";
import { parseEvent } from "../evidence/event.ts";
import { firstIndexOf } from "../evidence/layout.ts";
import type { Segment } from "../evidence/segment.ts";
import type { VoteCheckpoint } from "../evidence/vote-checkpoint.ts";
import { LockedDatabase } from "./locked-database.ts";
import { QuerySession } from "./query-session.ts";
import { RULE_BREAKERS, SCHEMA } from "./schema.ts";

/** Which part of a log a query sees. */
export interface Cut {
  /** Entries with a smaller log index: those that are signed, or those up to a vote checkpoint. */
  readonly size: number;
  /** What was there at this moment, in microseconds since 1970. */
  readonly asOf: number | undefined;
}

export interface EvidenceDatabaseOptions {
  /** A folder of its own; whoever made it deletes it. */
  readonly folder: string;
  /** DuckDB's memory, in its words. What is beyond goes to the folder. */
  readonly memory?: string;
}

/** A record that the election's rules do not allow. */
export interface RuleBreaker {
  readonly shard: ShardId;
  readonly sequence: Sequence;
  readonly problem: string;
}

const MEMORY = "1GB";

type Column = readonly DuckDBValue[];

/**
 * A log's records in DuckDB's tables, on their way from the evidence, in log order. Whoever fills it verifies them, and
 * hands nobody a session before all of them are: `finish`.
 */
export class EvidenceDatabase implements AsyncDisposable {
  readonly #options: Required<EvidenceDatabaseOptions>;
  #database: LockedDatabase | undefined;
  /** By table. */
  readonly #appenders = new Map<string, DuckDBAppender>();
  /** The number of the last vote checkpoint that a query sees; 0 for none. */
  newestCheckpoint = 0;
  /** The log has a vote that was cast after the moment asked for. */
  #isPast = false;

  static async create({ folder, memory = MEMORY }: EvidenceDatabaseOptions): Promise<EvidenceDatabase> {
    const database = await LockedDatabase.open({ folder, memory, readOnly: false });
    await database.connection.run(SCHEMA);
    return new EvidenceDatabase({ folder, memory }, database);
  }

  private constructor(options: Required<EvidenceDatabaseOptions>, database: LockedDatabase) {
    this.#options = options;
    this.#database = database;
  }

  /** Throws a SqlError unless the statement can be asked: a mistake should not wait for all evidence to be read. */
  async check(sql: string): Promise<void> {
    (await this.#open.prepare(sql)).destroySync();
  }

  /** Takes the next segment. */
  async addSegment(
    key: string,
    segment: Segment,
    { size, asOf = Number.POSITIVE_INFINITY }: Cut,
  ): Promise<void> {
    const shards = segment.shardHeads.length;
    const votes: DuckDBValue[][] = Array.from({ length: 10 }, () => []);
    const events: DuckDBValue[][] = Array.from({ length: 6 }, () => []);
    for (const [position, entry] of segment.entries.entries()) {
      const index = segment.firstIndex + position;
      if (index >= size) break;
      if (entry.type === "vote") {
        const { shard, sequence, voterPseudonym, revision, sealedChoice, castAt, hash } = entry.record;
        if (castAt > asOf) {
          this.#isPast = true;
          continue;
        }
        addRow(votes, [
          BigInt(index),
          BigInt(voteIdOf(shard, sequence, shards)),
          shard,
          BigInt(sequence),
          new DuckDBBlobValue(voterPseudonym),
          BigInt(revision),
          new DuckDBBlobValue(sealedChoice),
          timestamp(castAt),
          new DuckDBBlobValue(hash),
          key,
        ]);
      } else if (entry.type === "event") {
        const { kind, at, details } = parseEvent(entry.note);
        if (at > asOf) continue;
        const row = [BigInt(index), kind, timestamp(at), JSON.stringify(details), entry.note, key];
        addRow(events, row);
      }
    }
    await this.#append("votes", VOTE_TYPES, votes);
    await this.#append("events", EVENT_TYPES, events);
  }

  /** Takes the next vote checkpoint, after the segments it names; at a moment, only while all of its votes were cast. */
  async addCheckpoint(checkpoint: VoteCheckpoint, { size }: Cut): Promise<void> {
    if (checkpoint.treeSize > size || this.#isPast) return;
    this.newestCheckpoint = checkpoint.number;
    const { number, treeSize, treeRoot, segments, lastVote, note } = checkpoint;
    const dates = segments.map(({ retainUntil }) => retainUntil?.getTime() ?? 0);
    const retained = dates.length > 0 ? Math.min(...dates) : 0;
    const row = [
      BigInt(number),
      BigInt(firstIndexOf(number)),
      BigInt(treeSize),
      toHex(treeRoot),
      segments.length,
      BigInt(segments.reduce((sum, { bytes }) => sum + bytes, 0)),
      retained > 0 ? timestamp(retained * 1000) : null,
      lastVote && BigInt(lastVote.id),
      lastVote && toHex(lastVote.hash),
      note,
    ];
    await this.#append(
      "checkpoints",
      CHECKPOINT_TYPES,
      row.map((value) => [value]),
    );
  }

  /** The records that break the one-vote rule, in order of their places; a thousand at most. */
  async ruleBreakers(revoting: "forbidden" | "last-counts"): Promise<RuleBreaker[]> {
    this.#flush();
    const { connection } = this.#open;
    const found = await connection.runAndReadAll(RULE_BREAKERS, [revoting === "forbidden"]);
    return found.getRows().map(([shard, number, revision, expected]) => ({
      shard: shardId(Number(shard)),
      sequence: sequence(Number(number)),
      problem:
        revoting === "forbidden" && expected !== 1n
          ? "another vote of a voter who has voted"
          : `revision ${revision} where ${expected} comes next`,
    }));
  }

  /** Ends the loading: from here on the tables only answer. */
  async finish(): Promise<QuerySession> {
    this.#flush();
    await this.#open.connection.run("CHECKPOINT");
    await this[Symbol.asyncDispose]();
    return new QuerySession(await LockedDatabase.open({ ...this.#options, readOnly: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    await database?.[Symbol.asyncDispose]();
  }

  get #open(): LockedDatabase {
    if (!this.#database) throw new Error("the database is finished");
    return this.#database;
  }

  /** Rows wait in their appender, which writes 200,000 at a time, until `#flush`. */
  async #append(table: string, types: readonly DuckDBType[], columns: readonly Column[]): Promise<void> {
    if (columns[0]?.length === 0) return;
    let appender = this.#appenders.get(table);
    if (!appender) {
      appender = await this.#open.connection.createAppender(table, "evidence");
      this.#appenders.set(table, appender);
    }
    const chunk = DuckDBDataChunk.create(types);
    chunk.setColumns(columns);
    appender.appendDataChunk(chunk);
  }

  #flush(): void {
    for (const appender of this.#appenders.values()) appender.closeSync();
    this.#appenders.clear();
  }
}

const VOTE_TYPES = [BIGINT, BIGINT, INTEGER, BIGINT, BLOB, BIGINT, BLOB, TIMESTAMP, BLOB, VARCHAR];
const EVENT_TYPES = [BIGINT, VARCHAR, TIMESTAMP, VARCHAR, VARCHAR, VARCHAR];
const CHECKPOINT_TYPES = [
  ...[BIGINT, BIGINT, BIGINT, VARCHAR, INTEGER, BIGINT],
  ...[TIMESTAMP, BIGINT, VARCHAR, VARCHAR],
];

function addRow(columns: DuckDBValue[][], row: readonly DuckDBValue[]): void {
  for (const [column, value] of row.entries()) columns[column]?.push(value);
}

function timestamp(micros: number): DuckDBTimestampValue {
  return new DuckDBTimestampValue(BigInt(micros));
}

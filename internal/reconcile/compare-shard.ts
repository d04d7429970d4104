import type { VoteRecord } from "../ballot/record.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import type { ShardId } from "../core/ids.ts";
import type { Differences } from "./difference.ts";
import { type ReadChain, readRows } from "./shard-rows.ts";

/** A record as the evidence has it, verified. */
export interface SealedRecord {
  readonly index: number;
  readonly record: VoteRecord;
}

/** Rows that are compared at once. */
const PAGE = 2_000;

/** Compares the consecutive sealed records of a shard with its rows. Answers those that are not there as they were sealed. */
export async function compareShard(
  readChain: ReadChain,
  checkpoint: number,
  sealed: readonly SealedRecord[],
  differences: Differences,
): Promise<SealedRecord[]> {
  const damaged: SealedRecord[] = [];
  for (let at = 0; at < sealed.length; at += PAGE) {
    damaged.push(...(await comparePage(readChain, checkpoint, sealed.slice(at, at + PAGE), differences)));
  }
  return damaged;
}

async function comparePage(
  readChain: ReadChain,
  checkpoint: number,
  sealed: readonly SealedRecord[],
  differences: Differences,
): Promise<SealedRecord[]> {
  const damaged: SealedRecord[] = [];
  const [first, last] = [sealed[0]?.record, sealed.at(-1)?.record];
  if (!first || !last) return damaged;
  const { rows, holed } = await readRows(readChain, first.shard, first.sequence, last.sequence);
  const sequencesByHash = new Map(sealed.map(({ record }) => [toHex(record.hash), record.sequence]));
  for (const one of sealed) {
    const { index, record } = one;
    const { shard, sequence } = record;
    const found = rows.get(sequence) ?? [];
    if (holed.some(({ first, last }) => first <= sequence && sequence <= last)) {
      const problem = "so many rows are missing around here that not each was looked at";
      differences.add({ shard, sequence, index, checkpoint, kind: "missing", problem });
      damaged.push(one);
      continue;
    }
    differences.compared.sealed++;
    differences.compared.rows += found.length;
    const place = { shard, sequence, index, checkpoint };
    if (found.length > 1) {
      const problem = `the database has ${found.length} rows of this sequence`;
      differences.add({ ...place, kind: "duplicate", problem });
    }
    const row = found.find((row) => sameRecord(row, record)) ?? found[0];
    const fields = row ? differingFields(row, record) : [];
    if (!row || fields.length > 0 || found.length > 1) damaged.push(one);
    if (!row) {
      differences.add({ ...place, kind: "missing", problem: "sealed, and the database does not have it" });
      continue;
    }
    if (fields.length === 0) continue;
    const other = sequencesByHash.get(toHex(row.hash));
    const problem =
      other !== undefined && other !== sequence
        ? `the database has the sealed record of sequence ${other} here`
        : `the database has another ${fields.join(" and ")} than the one sealed`;
    differences.add({
      ...place,
      kind: other !== undefined && other !== sequence ? "moved" : "changed",
      problem,
    });
  }
  return damaged;
}

export function sameRecord(a: VoteRecord, b: VoteRecord): boolean {
  return differingFields(a, b).length === 0;
}

/** What differs, in words that say nothing of a voter or a choice. */
export function differingFields(a: VoteRecord, b: VoteRecord): string[] {
  const fields: string[] = [];
  if (!equalBytes(a.voterPseudonym, b.voterPseudonym)) fields.push("voter");
  if (a.revision !== b.revision) fields.push("revision");
  if (!equalBytes(a.sealedChoice, b.sealedChoice)) fields.push("choice");
  if (a.castAt !== b.castAt) fields.push("time");
  if (!equalBytes(a.hash, b.hash)) fields.push("hash");
  return fields;
}

/** Sealed records by shard, each in order of sequence. */
export function byShard(sealed: readonly SealedRecord[]): Map<ShardId, SealedRecord[]> {
  return Map.groupBy(sealed, ({ record }) => record.shard);
}

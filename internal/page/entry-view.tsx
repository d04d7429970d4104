import type { JSX } from "preact";
import type { LogEntry } from "../ballot/entry.ts";
import { toHex } from "../core/bytes.ts";
import type { Hash } from "../core/sha256.ts";
import { readEntry } from "../receipt/find-entry.ts";
import { verifyInclusion } from "../tlog/proof.ts";
import { TILE_WIDTH, tilePath, tileWidthAt } from "../tlog/tile.ts";
import { leafHash } from "../tlog/tree.ts";
import { addressOf, type Election } from "./election.ts";
import type { OpenTree } from "./explore.tsx";
import { formatNumber } from "./format.ts";
import { useLoaded } from "./hooks.ts";
import { messages } from "./messages.ts";
import { linkTo } from "./route.ts";
import { Path } from "./tile-view.tsx";
import { Waiting } from "./waiting.tsx";

interface EntryViewProps {
  readonly election: Election;
  readonly tree: OpenTree;
  readonly index: number;
}

export function EntryView({ election, tree, index }: EntryViewProps): JSX.Element {
  const proven = useLoaded(() => prove(tree, index), [tree, index]);
  const { size } = tree.checkpoint;
  const bundle = Math.floor(index / TILE_WIDTH);
  const link = (to: number) => linkTo(election.id, { view: "entry", checkpoint: tree.name, index: to });
  return (
    <section>
      {index < size && <Path election={election} tree={tree} level={0} index={bundle} />}
      <h2>{messages.entryTitle(formatNumber(index))}</h2>
      <Waiting for={proven} />
      {proven.state === "loaded" && (
        <>
          <p class="notice good">{messages.entryProven}</p>
          <Facts entry={proven.value} />
          <h3>{messages.entryProof}</h3>
          <ol class="hashes">
            {proven.value.proof.map((hash, place) => (
              <li key={place}>{toHex(hash)}</li>
            ))}
          </ol>
          <p>
            <a href={addressOf(election, tilePath("entries", bundle, tileWidthAt(size, 0, bundle)))}>
              {messages.rawFile}
            </a>
          </p>
        </>
      )}
      <p class="steps-between">
        {index > 0 && <a href={link(index - 1)}>{messages.previous}</a>}
        {index < size - 1 && <a href={link(index + 1)}>{messages.next}</a>}
      </p>
    </section>
  );
}

interface ProvenEntry {
  readonly bytes: Uint8Array;
  readonly decoded: LogEntry | undefined;
  readonly leaf: Hash;
  readonly proof: readonly Hash[];
}

async function prove({ reader, checkpoint }: OpenTree, index: number): Promise<ProvenEntry> {
  const [bytes, proof] = await Promise.all([reader.entry(index), reader.inclusionProof(index)]);
  const leaf = leafHash(bytes);
  verifyInclusion({ leaf, index, proof, ...checkpoint });
  return { bytes, decoded: readEntry(bytes), leaf, proof };
}

function Facts({ entry: { bytes, decoded, leaf } }: { readonly entry: ProvenEntry }): JSX.Element {
  const facts: (readonly [name: string, value: string])[] = [
    [messages.entryType, messages.entryTypes[decoded?.type ?? "unknown"]],
    ...factsOf(decoded),
    [messages.entryBytes, toHex(bytes)],
    [messages.entryLeaf, toHex(leaf)],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function factsOf(entry: LogEntry | undefined): (readonly [name: string, value: string])[] {
  switch (entry?.type) {
    case "manifest":
      return [[messages.manifestHash, toHex(entry.manifestHash)]];
    case "vote":
      return [
        [messages.factShard, formatNumber(entry.shard)],
        [messages.factSequence, formatNumber(entry.sequence)],
        [messages.factRecordHash, toHex(entry.recordHash)],
      ];
    case "closing":
      return [[messages.votesInLog, formatNumber(entry.totalVotes)]];
    default:
      return [];
  }
}

import type { JSX } from "preact";
import { toHex } from "../core/bytes.ts";
import { rightEdge } from "../tlog/tile.ts";
import type { Election } from "./election.ts";
import type { OpenTree } from "./explore.tsx";
import { formatNumber } from "./format.ts";
import { messages } from "./messages.ts";
import { linkTo } from "./route.ts";
import { coveredBy } from "./tile-view.tsx";

interface CheckpointViewProps {
  readonly election: Election;
  readonly tree: OpenTree;
}

export function CheckpointView({ election, tree }: CheckpointViewProps): JSX.Element {
  const { checkpoint, cosignatures, name, note, address } = tree;
  return (
    <section>
      <h2>{nameOf(tree)}</h2>
      <p class="notice good">{messages.signatureGood}</p>
      <dl class="facts">
        <div>
          <dt>{messages.size}</dt>
          <dd>{messages.factEntries(formatNumber(checkpoint.size))}</dd>
        </div>
        <div>
          <dt>{messages.root}</dt>
          <dd>{toHex(checkpoint.root)}</dd>
        </div>
        {cosignatures.length > 0 && (
          <div>
            <dt>{messages.witnesses}</dt>
            <dd>{cosignatures.map(({ verifier }) => verifier.name).join(", ")}</dd>
          </div>
        )}
      </dl>
      <h3>{messages.tilesFromRoot}</h3>
      <ul>
        {rightEdge(checkpoint.size)
          .toReversed()
          .map(({ level, index, width }) => (
            <li key={level}>
              <a href={linkTo(election.id, { view: "tile", checkpoint: name, level, index })}>
                {messages.tileOf(formatNumber(level), formatNumber(index))}
              </a>{" "}
              <span class="note">{coveredBy(level, index, width)}</span>
            </li>
          ))}
      </ul>
      <h3>{messages.signedText}</h3>
      <pre>{note}</pre>
      <p>
        <a href={address}>{messages.rawFile}</a>
      </p>
    </section>
  );
}

export function nameOf({ name }: OpenTree): string {
  return name === "latest" ? messages.newestCheckpoint : messages.checkpointTitle(formatNumber(name));
}

import type { JSX } from "preact";
import { toHex } from "../core/bytes.ts";
import { TILE_WIDTH, tilePath, tileWidthAt } from "../tlog/tile.ts";
import { nameOf } from "./checkpoint-view.tsx";
import { addressOf, type Election } from "./election.ts";
import type { OpenTree } from "./explore.tsx";
import { formatNumber } from "./format.ts";
import { useLoaded } from "./hooks.ts";
import { messages } from "./messages.ts";
import { linkTo } from "./route.ts";
import { Waiting } from "./waiting.tsx";

interface TileViewProps {
  readonly election: Election;
  readonly tree: OpenTree;
  readonly level: number;
  readonly index: number;
}

/** A tile's hashes, each of which leads to a tile below or an entry. */
export function TileView({ election, tree, level, index }: TileViewProps): JSX.Element {
  const hashes = useLoaded(() => tree.reader.tile(level, index), [tree, level, index]);
  const { name } = tree;
  const below = (child: number) =>
    level === 0
      ? linkTo(election.id, { view: "entry", checkpoint: name, index: child })
      : linkTo(election.id, { view: "tile", checkpoint: name, level: level - 1, index: child });
  return (
    <section>
      <Path election={election} tree={tree} level={level} index={index} />
      <h2>{messages.tileOf(formatNumber(level), formatNumber(index))}</h2>
      <Waiting for={hashes} />
      {hashes.state === "loaded" && (
        <>
          <p class="note">{coveredBy(level, index, hashes.value.length)}</p>
          <p class="notice good">
            {messages.tileVerified(formatNumber(hashes.value.length))}{" "}
            {level === 0 ? messages.tileEachOne : messages.tileEach(formatNumber(TILE_WIDTH ** level))}
          </p>
          <ol class="hashes" start={index * TILE_WIDTH}>
            {hashes.value.map((hash, place) => (
              <li key={place}>
                <a href={below(index * TILE_WIDTH + place)}>
                  <span class="place">{formatNumber(index * TILE_WIDTH + place)}</span> {toHex(hash)}
                </a>
              </li>
            ))}
          </ol>
          <p>
            <a href={addressOf(election, tilePath(level, index, hashes.value.length))}>{messages.rawFile}</a>
          </p>
        </>
      )}
    </section>
  );
}

/** From the checkpoint down to a tile: each is verified by the one before it. */
export function Path({ election, tree, level, index }: TileViewProps): JSX.Element {
  const { name, checkpoint } = tree;
  const tiles = [{ level, index }];
  // A tile on the right edge is no part of another one: the edge's tiles give the root together.
  for (
    let at = tiles[0];
    at && tileWidthAt(checkpoint.size, at.level, at.index) === TILE_WIDTH;
    at = tiles[0]
  ) {
    tiles.unshift({ level: at.level + 1, index: Math.floor(at.index / TILE_WIDTH) });
  }
  return (
    <nav class="path" aria-label={messages.path}>
      <ol>
        <li>
          <a href={linkTo(election.id, { view: "checkpoint", checkpoint: name })}>{nameOf(tree)}</a>
        </li>
        {tiles.map((tile) => (
          <li key={tile.level}>
            <a href={linkTo(election.id, { view: "tile", checkpoint: name, ...tile })}>
              {messages.tileOf(formatNumber(tile.level), formatNumber(tile.index))}
            </a>
          </li>
        ))}
      </ol>
    </nav>
  );
}

export function coveredBy(level: number, index: number, width: number): string {
  const entries = TILE_WIDTH ** level;
  const first = index * TILE_WIDTH * entries;
  return messages.tileCovers(formatNumber(first), formatNumber(first + width * entries - 1));
}

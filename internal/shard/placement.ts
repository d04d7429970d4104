// Which instance holds which shard.

/** From ranges of shards, such as `0-7` or `8`, to the name of their instance. */
export type PlacementMap = Readonly<Record<string, string>>;

/** The first and last shard of a range; undefined when it is none. */
export function parseShardRange(text: string): readonly [first: number, last: number] | undefined {
  const [, first, last = first] = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(text) ?? [];
  const range = [Number(first), Number(last)] as const;
  return range[0] <= range[1] ? range : undefined;
}

/**
 * Where the shards of a new election go: as the map says, or without one spread evenly. A shard that the map leaves
 * out is undefined in the result.
 *
 * This is asked once, when an election is created, and the answer stored with it. The map can change without moving
 * what is there.
 */
export function placeShards(
  shards: number,
  instances: readonly string[],
  map: PlacementMap | undefined,
): (string | undefined)[] {
  if (map === undefined)
    return Array.from({ length: shards }, (_, shard) => instances[shard % instances.length]);
  const placed = new Array<string | undefined>(shards).fill(undefined);
  for (const [text, instance] of Object.entries(map)) {
    const [first, last] = parseShardRange(text) ?? [0, -1];
    for (let shard = first; shard <= last && shard < shards; shard++) placed[shard] = instance;
  }
  return placed;
}

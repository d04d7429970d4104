// Where one is on the page, in the part of its address after `#`: any static host serves it, and every view can be linked.
//
//   #/vermont-2020                              the log
//   #/vermont-2020/receipt                      check my receipt
//   #/vermont-2020/explore                      checkpoints
//   #/vermont-2020/checkpoint/37                one of them, and below it:
//   #/vermont-2020/checkpoint/37/tile/1/0       level and index
//   #/vermont-2020/checkpoint/latest/entry/12
//   #/vermont-2020/verify
//   #/vermont-2020/downloads
import { type ElectionId, isElectionId } from "../core/ids.ts";

/** The number of a checkpoint that is kept for good, or the newest. */
export type CheckpointName = number | "latest";

export type View =
  | { readonly view: "overview" | "receipt" | "explore" | "verify" | "downloads" }
  | { readonly view: "checkpoint"; readonly checkpoint: CheckpointName }
  | {
      readonly view: "tile";
      readonly checkpoint: CheckpointName;
      readonly level: number;
      readonly index: number;
    }
  | { readonly view: "entry"; readonly checkpoint: CheckpointName; readonly index: number };

export type Route =
  | { readonly view: "elections" }
  | { readonly view: "unknown" }
  | (View & { readonly election: ElectionId });

export function parseRoute(hash: string): Route {
  const parts = hash.replace(/^#?\/?/, "").split("/");
  const [election = "", view = "overview", ...rest] = parts;
  if (election === "" && parts.length === 1) return { view: "elections" };
  if (!isElectionId(election)) return { view: "unknown" };
  const parsed = parseView(view, rest);
  return parsed ? { ...parsed, election } : { view: "unknown" };
}

function parseView(view: string, rest: readonly string[]): View | undefined {
  switch (view) {
    case "overview":
    case "receipt":
    case "explore":
    case "verify":
    case "downloads":
      return rest.length === 0 ? { view } : undefined;
    case "checkpoint":
      return parseBelow(rest);
    default:
      return undefined;
  }
}

function parseBelow([name = "", kind, ...numbers]: readonly string[]): View | undefined {
  const checkpoint = name === "latest" ? name : parseNumber(name);
  if (checkpoint === undefined || checkpoint === 0) return undefined;
  const [first, second, ...more] = numbers.map(parseNumber);
  if (kind === undefined) return { view: "checkpoint", checkpoint };
  if (more.length > 0 || first === undefined) return undefined;
  if (kind === "entry" && numbers.length === 1) return { view: "entry", checkpoint, index: first };
  if (kind === "tile" && second !== undefined)
    return { view: "tile", checkpoint, level: first, index: second };
  return undefined;
}

function parseNumber(text: string): number | undefined {
  return /^(?:0|[1-9][0-9]{0,15})$/.test(text) && Number.isSafeInteger(Number(text))
    ? Number(text)
    : undefined;
}

export function linkTo(election: ElectionId, to: View): string {
  switch (to.view) {
    case "overview":
      return `#/${election}`;
    case "checkpoint":
      return `#/${election}/checkpoint/${to.checkpoint}`;
    case "tile":
      return `#/${election}/checkpoint/${to.checkpoint}/tile/${to.level}/${to.index}`;
    case "entry":
      return `#/${election}/checkpoint/${to.checkpoint}/entry/${to.index}`;
    default:
      return `#/${election}/${to.view}`;
  }
}

import { isElectionId } from "../core/ids.ts";
import { TlogError } from "../tlog/errors.ts";
import { parseTilePath } from "../tlog/tile.ts";
import { CLOSING } from "./closing-report.ts";
import { ELECTION_INDEX } from "./election-index.ts";
import { HISTORY } from "./history.ts";
import { LOG_DESCRIPTION } from "./log-description.ts";
import { PAGE, PAGE_ASSETS } from "./page-files.ts";
import { CHECKPOINT, MANIFEST } from "./public-log.ts";

/** How a file of the public directory is served. */
export interface PublicFile {
  /** Its path below the public directory. */
  readonly path: string;
  readonly contentType: string;
  readonly cacheControl: string;
  /**
   * Whether it is sent compressed to whoever takes that. c2sp.org/tlog-tiles lets entry bundles be, but most of ours are
   * hashes: they lose a fifth, for 0.2 ms of a core.
   */
  readonly compressible: boolean;
  /** What else a browser is told of it. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What tells of a log, and is made again when there is more to tell. */
const TELLING: ReadonlySet<string> = new Set([LOG_DESCRIPTION, CLOSING, HISTORY]);
const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";
const HTML = "text/html; charset=utf-8";
/** By the names' endings. */
const ASSET_TYPES: ReadonlyMap<string, string> = new Map([
  ["js", "text/javascript; charset=utf-8"],
  ["css", "text/css; charset=utf-8"],
]);
/** The page loads its own files and asks this server, and nobody puts it into a page of theirs. */
const PAGE_HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
};
const BYTES = "application/octet-stream";
/** c2sp.org/tlog-tiles allows a few seconds: through a CDN, a crowd that asks costs one request a second. */
const BRIEFLY = "public, max-age=1";
/** c2sp.org/tlog-tiles: a week, and never another content. */
const FOR_GOOD = "public, max-age=604800, immutable";

/**
 * The file that a URL's path names, if it is one that can exist. Whatever is not exactly one of the few names of a log
 * is nothing: no decoding, no normalizing, and so nothing that could lead out of the directory.
 */
export function publicFile(urlPath: string): PublicFile | undefined {
  if (urlPath === `/${ELECTION_INDEX}`) return json(ELECTION_INDEX);
  if (urlPath === `/${PAGE}`) {
    return {
      path: PAGE,
      contentType: HTML,
      cacheControl: BRIEFLY,
      compressible: true,
      headers: PAGE_HEADERS,
    };
  }
  if (urlPath.startsWith(`/${PAGE_ASSETS}/`)) return pageAsset(urlPath.slice(1));
  const [, election = "", name = ""] = /^\/([^/]+)\/(.+)$/.exec(urlPath) ?? [];
  if (!isElectionId(election)) return undefined;
  const path = `${election}/${name}`;
  if (name === CHECKPOINT) return { path, contentType: TEXT, cacheControl: BRIEFLY, compressible: true };
  if (name === MANIFEST) return { ...json(path), cacheControl: FOR_GOOD };
  if (TELLING.has(name)) return json(path);
  // Made again from evidence it may have another checkpoint, which proves the same.
  if (/^key-changes\/[0-9]{10}$/.test(name)) {
    return { path, contentType: TEXT, cacheControl: BRIEFLY, compressible: true };
  }
  if (/^checkpoints\/[0-9]{10}$/.test(name)) {
    return { path, contentType: TEXT, cacheControl: FOR_GOOD, compressible: true };
  }
  if (isTilePath(name)) return { path, contentType: BYTES, cacheControl: FOR_GOOD, compressible: false };
  return undefined;
}

/** Its name has a hash of what is in it. A worker has a policy of its own, which it gets with its script. */
function pageAsset(path: string): PublicFile | undefined {
  const [, ending = ""] = /^[^/]+\/[A-Za-z0-9_-]+\.([a-z]+)$/.exec(path) ?? [];
  const contentType = ASSET_TYPES.get(ending);
  if (contentType === undefined) return undefined;
  return { path, contentType, cacheControl: FOR_GOOD, compressible: true, headers: PAGE_HEADERS };
}

function json(path: string): PublicFile {
  return { path, contentType: JSON_TYPE, cacheControl: BRIEFLY, compressible: true };
}

function isTilePath(path: string): boolean {
  try {
    parseTilePath(path);
    return true;
  } catch (error) {
    if (error instanceof TlogError) return false;
    throw error;
  }
}

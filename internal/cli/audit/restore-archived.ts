import type { ElectionId } from "../../core/ids.ts";
import type { S3Store } from "../../worm/s3-store.ts";

export interface Archived {
  /** In a cold tier, and no longer or not yet to be read: restores that were asked for now, and that were before. */
  readonly requested: number;
  readonly restoring: number;
  /** In a cold tier, with a copy that can be read. */
  readonly readable: number;
}

export interface RestoreArchivedOptions {
  readonly store: Pick<S3Store, "listVersions" | "stat" | "requestRestore">;
  readonly electionId: ElectionId;
  /** How long the copies are to stay. */
  readonly days: number;
  readonly onProgress: (seen: number) => void;
}

/** Asks for a readable copy of each object of an election that is in a cold tier. The first version is the object. */
export async function restoreArchived(options: RestoreArchivedOptions): Promise<Archived> {
  const { store, electionId, days, onProgress } = options;
  const counts = { requested: 0, restoring: 0, readable: 0 };
  const ask = async (first: FirstVersion) => {
    if (!COLD.includes(first.storageClass)) return;
    const info = await store.stat(first.key, first.versionId);
    if (info?.access === "archived") {
      await store.requestRestore(first.key, first.versionId, days);
      counts.requested++;
    } else if (info?.access === "restoring") counts.restoring++;
    else counts.readable++;
  };
  let first: FirstVersion | undefined;
  let seen = 0;
  for await (const version of store.listVersions(`${electionId}/`)) {
    if (version.deleteMarker) continue;
    // Newest first, so that the last of a key is the first version.
    if (first && first.key !== version.key) {
      await ask(first);
      onProgress(++seen);
    }
    first = version;
  }
  if (first) await ask(first);
  return counts;
}

interface FirstVersion {
  readonly key: string;
  readonly versionId: string;
  readonly storageClass: string;
}

/** Where reading takes a restore first. INTELLIGENT_TIERING may have archive tiers: HEAD alone says whether. */
const COLD: readonly string[] = ["GLACIER", "DEEP_ARCHIVE", "INTELLIGENT_TIERING"];

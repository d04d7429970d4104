import { ListObjectVersionsCommand, type ListObjectVersionsCommandOutput } from "@aws-sdk/client-s3";
import { ObjectStoreError } from "./object-store.ts";
import type { S3Calls } from "./s3-calls.ts";

/** One version of an object, or a delete marker, which hides all versions before it from whoever names none. */
export interface ObjectVersion {
  readonly key: string;
  readonly versionId: string;
  readonly deleteMarker: boolean;
  /** Whether it is what a read without a version meets. */
  readonly latest: boolean;
  /** By the server's clock; often whole seconds. */
  readonly storedAt: Date;
  /** 0 for a delete marker. */
  readonly bytes: number;
  readonly storageClass: string;
}

/** How many names are remembered, about 10 MB. Forgetting one costs a request. */
const REMEMBERED_NAMES = 20_000;
/** A folder takes next to nothing: what is hidden in it is most often nothing. */
const REMEMBERED_FOLDERS = 1_024;

/**
 * Which version of a name came first. S3 lets anybody with the permission to write put a newer version, or a delete
 * marker, over a locked one: reads that name no version then meet that instead. Here the first version *is* the object.
 *
 * Which one is first never changes while it exists, so what is known of it is remembered. It is learnt from putting an
 * object, from any listing, or else by a request for the name's own versions.
 */
export class S3Versions {
  readonly #calls: S3Calls;
  readonly #bucket: string;
  readonly #pageSize: number;
  /** First versions by name, the one used longest ago in front. */
  readonly #first = new Map<string, string>();
  /** By folder, the one used longest ago in front. */
  readonly #hiddenIn = new Map<string, Promise<ReadonlySet<string>>>();

  constructor(options: { readonly calls: S3Calls; readonly bucket: string; readonly pageSize?: number }) {
    this.#calls = options.calls;
    this.#bucket = options.bucket;
    this.#pageSize = options.pageSize ?? 1_000; // As much as S3 gives.
  }

  /** The first version's id; undefined where there is none. It may be one that has been deleted since it was learnt. */
  async first(name: string): Promise<string | undefined> {
    const known = this.#first.get(name);
    if (known !== undefined) {
      this.learn(name, known);
      return known;
    }
    return this.lookUp(name);
  }

  /** The same, from S3 itself. */
  async lookUp(name: string): Promise<string | undefined> {
    this.#first.delete(name);
    let first: string | undefined;
    for await (const version of this.list(name)) {
      if (version.key !== name) break; // Names that this one begins come after it.
      if (!version.deleteMarker) first = version.versionId; // Newest first.
    }
    if (first !== undefined) this.learn(name, first);
    return first;
  }

  isKnown(name: string): boolean {
    return this.#first.has(name);
  }

  learn(name: string, versionId: string): void {
    this.#first.delete(name);
    this.#first.set(name, versionId);
    if (this.#first.size > REMEMBERED_NAMES) deleteOldest(this.#first);
  }

  /**
   * Whether `name` has versions under a delete marker, where `If-None-Match: *` does not see them. Asked once for each
   * folder that this process writes to, and so for each 10,000 votes: hiding an object between that question and a put
   * of other bytes takes two writers and somebody who deletes, and `listVersions` shows it.
   */
  async isHidden(name: string): Promise<boolean> {
    const folder = name.slice(0, name.lastIndexOf("/") + 1);
    const hidden = this.#hiddenIn.get(folder) ?? this.#askHidden(folder);
    this.#hiddenIn.delete(folder);
    this.#hiddenIn.set(folder, hidden);
    if (this.#hiddenIn.size > REMEMBERED_FOLDERS) deleteOldest(this.#hiddenIn);
    return (await hidden).has(name);
  }

  #askHidden(folder: string): Promise<ReadonlySet<string>> {
    const hidden = this.#listHidden(folder);
    hidden.catch(() => this.#hiddenIn.delete(folder));
    return hidden;
  }

  async #listHidden(folder: string): Promise<ReadonlySet<string>> {
    const hidden = new Set<string>();
    let marked: string | undefined;
    for await (const { key, deleteMarker, latest } of this.list(folder, "/")) {
      if (deleteMarker && latest) marked = key;
      else if (!deleteMarker && key === marked) hidden.add(key);
    }
    return hidden;
  }

  /**
   * All versions and delete markers of names that start with `prefix`: names ascending, for each name what is latest
   * first and then newest first. With a delimiter, none of those that have it after the prefix.
   */
  async *list(prefix: string, delimiter?: string): AsyncIterable<ObjectVersion> {
    let position: Position | undefined = {};
    let last: ObjectVersion | undefined;
    while (position !== undefined) {
      const page: ListObjectVersionsCommandOutput = await this.#page(prefix, delimiter, position);
      const plain = page.EncodingType === "url" ? decodeName : (name: string) => name;
      for (const version of inOrder(versionsOf(page, plain))) {
        // Some servers begin a page with what the page before ended with.
        if (version.key === last?.key && version.versionId === last.versionId) continue;
        yield version;
        last = version;
      }
      position = page.IsTruncated === true ? nextPosition(page, plain, position) : undefined;
    }
  }

  #page(prefix: string, delimiter: string | undefined, position: Position) {
    const input = {
      Bucket: this.#bucket,
      Prefix: prefix,
      MaxKeys: this.#pageSize,
      // XML cannot hold every name that somebody may put beside ours, and one that it cannot would stop the listing.
      EncodingType: "url" as const,
      ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      ...position,
    };
    const action = `list the versions of ${this.#bucket}/${prefix}`;
    return this.#calls.run(action, async (client) => {
      const page = await client.send(new ListObjectVersionsCommand(input));
      // Every listing says of which bucket it is. A proxy's page parses as well, as a listing of nothing.
      if (page.Name === undefined && page.IsTruncated === undefined) {
        throw new ObjectStoreError("failed", "NoListing", "its answer is no listing");
      }
      return page;
    });
  }
}

interface Position {
  readonly KeyMarker?: string;
  readonly VersionIdMarker?: string;
}

function nextPosition(
  page: ListObjectVersionsCommandOutput,
  plain: (name: string) => string,
  { KeyMarker, VersionIdMarker }: Position,
): Position {
  const { NextKeyMarker: name, NextVersionIdMarker: version } = page;
  const next: Position =
    name === undefined ? {} : { KeyMarker: plain(name), ...(version ? { VersionIdMarker: version } : {}) };
  if (next.KeyMarker === KeyMarker && next.VersionIdMarker === VersionIdMarker) {
    throw new ObjectStoreError(
      "failed",
      "NoProgress",
      "S3 cut a listing off and does not say where it goes on",
    );
  }
  return next;
}

function versionsOf(page: ListObjectVersionsCommandOutput, plain: (name: string) => string): ObjectVersion[] {
  const { Versions: versions = [], DeleteMarkers: markers = [] } = page;
  return [...markers.map((entry) => ({ ...entry, deleteMarker: true })), ...versions].map((entry) => ({
    key: plain(entry.Key ?? ""),
    versionId: entry.VersionId ?? "null", // So S3 calls what it stored before the bucket had versions.
    deleteMarker: "deleteMarker" in entry,
    latest: entry.IsLatest === true,
    storedAt: entry.LastModified ?? new Date(0),
    bytes: ("Size" in entry ? entry.Size : undefined) ?? 0,
    storageClass: ("StorageClass" in entry ? entry.StorageClass : undefined) ?? "STANDARD",
  }));
}

/**
 * S3 lists versions and markers mixed, in one order; the SDK sorts them into two lists, each still in that order. Two
 * stored in one second may stand in either order here, but versions never change places among each other.
 */
function inOrder(entries: readonly ObjectVersion[]): ObjectVersion[] {
  const names = Map.groupBy(entries, (entry) => entry.key);
  return [...names.keys()].sort(byBytes).flatMap((name) => merge(names.get(name) ?? []));
}

function merge(entries: readonly ObjectVersion[]): ObjectVersion[] {
  const markers = entries.filter((entry) => entry.deleteMarker);
  const merged: ObjectVersion[] = [];
  for (const version of entries.filter((entry) => !entry.deleteMarker)) {
    while (markers[0] && !version.latest && (markers[0].latest || markers[0].storedAt >= version.storedAt)) {
      merged.push(...markers.splice(0, 1));
    }
    merged.push(version);
  }
  return [...merged, ...markers];
}

/** S3's order, that of the names' UTF-8 bytes, which is not that of UTF-16 above the basic plane. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function decodeName(name: string): string {
  return decodeURIComponent(name.replaceAll("+", " "));
}

function deleteOldest(map: Map<string, unknown>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}

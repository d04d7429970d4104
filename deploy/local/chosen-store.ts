import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { S3_IMPLEMENTATIONS } from "./s3-binaries.ts";

/** Where a state folder's evidence is, as it was chosen when the folder was begun. It cannot be moved afterwards. */
const chosenStore = z.discriminatedUnion("store", [
  z.strictObject({ store: z.literal("directory") }),
  z.strictObject({ store: z.literal("server"), implementation: z.enum(S3_IMPLEMENTATIONS) }),
  z.strictObject({
    store: z.literal("bucket"),
    endpoint: z.string(),
    bucket: z.string(),
    ca: z.string().optional(),
    region: z.string().optional(),
    /** A folder of its own for each state folder: what another one left in the bucket is locked there for good. */
    prefix: z.string(),
  }),
]);
export type ChosenStore = z.infer<typeof chosenStore>;

const FILE = "evidence-store.json";

/** What a state folder was begun with; undefined for one that is yet to be. */
export async function readChosenStore(folder: string): Promise<ChosenStore | undefined> {
  const text = await readFile(join(folder, FILE), "utf8").catch(() => undefined);
  if (text !== undefined) return chosenStore.parse(JSON.parse(text));
  // One from before there was a choice.
  const evidence = await readdir(join(folder, "evidence")).catch(() => []);
  return evidence.length > 0 ? { store: "directory" } : undefined;
}

export async function writeChosenStore(folder: string, chosen: ChosenStore): Promise<void> {
  await writeFile(join(folder, FILE), `${JSON.stringify(chosen)}\n`);
}

/** In words, after "its evidence is …". */
export function describeChosenStore(chosen: ChosenStore): string {
  if (chosen.store === "directory") return "in a folder";
  if (chosen.store === "server") return `in a local S3 server, ${chosen.implementation}`;
  return `in bucket ${chosen.bucket} at ${chosen.endpoint}`;
}

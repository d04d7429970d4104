// The page for people (internal/page), put into the public directory, so that whoever mirrors that has the page, too.
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { DurableFiles, NewFile } from "./durable-files.ts";

export const PAGE = "index.html";
/** Names that hold a hash of what is in them. No election id has an underscore. */
export const PAGE_ASSETS = "_page";

/** What was there of another version stays for those who have that open. */
export async function installPage(files: DurableFiles, directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const built = await Promise.all(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .map(
        async (file): Promise<NewFile> => ({ path: relative(directory, file), bytes: await readFile(file) }),
      ),
  );
  const page = built.find(({ path }) => path === PAGE);
  if (!page) throw new Error(`${directory} has no ${PAGE}: it is no built page`);
  await files.createAll(built.filter(({ path }) => path.startsWith(`${PAGE_ASSETS}/`)));
  // Last, when what it refers to is there.
  await files.replace(page);
}

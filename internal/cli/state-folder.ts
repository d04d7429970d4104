import { DirectoryLockedError } from "../publisher/directory-lock.ts";
import { DurableFiles } from "../publisher/durable-files.ts";
import { UsageError } from "./exit-code.ts";

/** What a command keeps on disk from run to run. Another process with the same folder is a mistake on the command line. */
export async function openStateFolder(root: string): Promise<DurableFiles> {
  try {
    return await DurableFiles.open({ root });
  } catch (error) {
    if (error instanceof DirectoryLockedError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

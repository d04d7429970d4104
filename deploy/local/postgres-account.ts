import { createHash } from "node:crypto";
import { chown, constants, cp, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { FileLock } from "./lock.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import { runProgram } from "./run-program.ts";

const USER = "postgres";

/** Where root keeps what the user `postgres` must be able to reach and otherwise could not. */
const REACHABLE = "/var/lib/psephos";

/**
 * Whom Postgres runs as. It refuses to run as root, who is often the only user of a container or a CI machine; then it
 * runs as the user `postgres`, and its programs and its data must lie where that user can reach them.
 */
export class PostgresAccount {
  /** Undefined: as whoever we are. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;

  private constructor(user: { uid: number; gid: number } | undefined) {
    this.user = user;
  }

  static async find(): Promise<PostgresAccount> {
    if (process.getuid?.() !== 0) return new PostgresAccount(undefined);
    const user = (await lookUp(USER)) ?? (await createUser(USER));
    return new PostgresAccount(user);
  }

  /** `folder`, or, when the account cannot get there, the folder that stands for it. */
  async reachable(folder: string): Promise<string> {
    if (this.user === undefined || (await isOpenToAll(folder))) return folder;
    const name = createHash("sha256").update(folder).digest("hex").slice(0, 16);
    return join(REACHABLE, name);
  }

  /** Makes an empty folder the account's own. */
  async createFolder(folder: string): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (this.user !== undefined) await chown(folder, this.user.uid, this.user.gid);
  }

  /** The programs, copied if need be to where the account can run them. */
  async reachableBinaries(binaries: PostgresBinaries): Promise<PostgresBinaries> {
    const folder = await this.reachable(binaries.folder);
    if (folder === binaries.folder) return binaries;

    using _lock = await FileLock.acquire(`${folder}.lock`);
    if (!(await exists(folder))) {
      await rm(`${folder}.new`, { recursive: true, force: true });
      await cp(binaries.folder, `${folder}.new`, { recursive: true, verbatimSymlinks: true });
      await rename(`${folder}.new`, folder);
    }
    const moved = (file: string) => join(folder, relative(binaries.folder, file));
    return { folder, initdb: moved(binaries.initdb), postgres: moved(binaries.postgres) };
  }
}

async function lookUp(name: string): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const id = (what: string) => runProgram({ file: "id", args: [what, name] });
    const [uid, gid] = await Promise.all([id("-u"), id("-g")]);
    return { uid: Number(uid), gid: Number(gid) };
  } catch {
    return undefined;
  }
}

async function createUser(name: string): Promise<{ uid: number; gid: number }> {
  const advice = `Postgres does not run as root: create a user "${name}" for it, or run this as another user`;
  try {
    const flags = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"];
    await runProgram({ file: "useradd", args: [...flags, name] });
  } catch (cause) {
    throw new Error(advice, { cause });
  }
  const user = await lookUp(name);
  if (user === undefined) throw new Error(advice);
  return user;
}

/** Whether anybody may pass through every folder on the way to `path`. Not so below root's home, nor below mkdtemp's. */
async function isOpenToAll(path: string): Promise<boolean> {
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & constants.S_IXOTH) === 0) return false;
  }
  return true;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

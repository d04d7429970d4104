import { homedir } from "node:os";
import { join } from "node:path";

/**
 * Where things are kept that every clone of the project on this machine can share: outside programs that took long to
 * get, and the reservations of ports. It can be deleted at any time.
 */
export function cacheFolder(): string {
  // "If $XDG_CACHE_HOME is either not set or empty" (XDG Base Directory Specification, section 3).
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "psephos");
}

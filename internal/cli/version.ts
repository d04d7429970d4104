import { readFileSync } from "node:fs";

/** What runs, for reports: the program's version and Node's. */
export function programVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  const { name, version } = JSON.parse(readFileSync(file, "utf8")) as { name: string; version: string }; // Ours.
  return `${name} ${version}, Node ${process.version}`;
}

import { readFileSync } from "node:fs";
import type { z } from "zod";
import { messageOf } from "../core/errors.ts";

/** A configuration file that cannot be used. The message lists every mistake, a line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** A mistake in a configuration file: where, such as `placement.instances[0].port`, and what. */
interface Mistake {
  readonly path: string;
  readonly problem: string;
}

/**
 * Reads a service's configuration, one JSON file. Throws a ConfigError that lists every mistake: a service that
 * starts with a misspelt key and goes on with the default has lost what its operator decided.
 */
export function loadConfig<Schema extends z.ZodType>(schema: Schema, path: string): z.output<Schema> {
  const parsed = schema.safeParse(readJson(path));
  if (parsed.success) return parsed.data;
  const mistakes = parsed.error.issues.flatMap(mistakesOf);
  const lines = mistakes.map(({ path, problem }) => `  ${path}: ${problem}`);
  throw new ConfigError([`${path} cannot be used:`, ...lines].join("\n"));
}

function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`${path} cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

function mistakesOf(issue: z.core.$ZodIssue): Mistake[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({ path: pathOf([...issue.path, key]), problem: "is not a known key" }));
  }
  return [{ path: pathOf(issue.path), problem: issue.message }];
}

function pathOf(parts: readonly PropertyKey[]): string {
  const path = parts.reduce<string>(
    (path, part) => (typeof part === "number" ? `${path}[${part}]` : `${path}.${String(part)}`),
    "",
  );
  return path.replace(/^\./, "") || "(the file)";
}

import type { StoredElection } from "../shard/ports.ts";
import { RestoreRefusedError } from "./errors.ts";
import type { RestoreInstance } from "./ports.ts";

/** The database instances by name; the first is the control instance. */
export type Instances = ReadonlyMap<string, RestoreInstance>;

export function controlOf(instances: Instances): RestoreInstance {
  const [control] = instances.values();
  if (!control) throw new RangeError("there is at least one instance");
  return control;
}

/** One with shards of an election. */
export function namedInstance(
  instances: Instances,
  { electionId }: StoredElection,
  name: string,
): RestoreInstance {
  const instance = instances.get(name);
  if (instance) return instance;
  throw new RestoreRefusedError(
    `${electionId} has shards on the instance ${name}, which the placement map does not name`,
  );
}

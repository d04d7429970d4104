import { messageOf } from "../core/errors.ts";
import { ObjectStoreError } from "../worm/object-store.ts";

/** What is wrong with an object. A store that cannot be asked says nothing of its objects: that error is thrown on. */
export function faultOf(error: unknown): string {
  if (error instanceof ObjectStoreError) throw error;
  return messageOf(error);
}

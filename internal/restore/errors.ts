import type { Problem } from "../verify/report.ts";

/** The evidence, or what the databases already have, is not what it should be. Nothing was written. */
export class RestoreRefusedError extends Error {
  override readonly name = "RestoreRefusedError";
  /** What a full verification of the evidence says, where that is at fault. */
  readonly problems: readonly Problem[];

  constructor(message: string, options: ErrorOptions & { readonly problems?: readonly Problem[] } = {}) {
    super(message, options);
    this.problems = options.problems ?? [];
  }
}

import { z } from "zod";
import { CHECK_NAMES } from "../worm/probe/checks.ts";

/** How AuditService probes its bucket: docs/operations.md, "Probe". */
export const wormProbeConfig = z.strictObject({
  /** Every hour unless given. */
  interval_minutes: z.int().min(1).max(1_440).optional(),
  /** The checks that have to hold while anything is sealed; all that are critical unless given. */
  minimum: z.array(z.enum(CHECK_NAMES)).optional(),
});

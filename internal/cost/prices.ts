import { z } from "zod";

const price = z.number().nonnegative();

const archive = z.strictObject({
  gb_month: price,
  transition_per_1000: price,
  /** Who deletes an object earlier, or moves it on, pays until then. */
  minimum_days: z.int().nonnegative(),
});

/** What a cloud asks for keeping objects. One file: prices change, and a calculation should say of which day its are. */
export const priceTable = z.strictObject({
  /** Where the prices stand, and when they were read there. */
  source: z.string().min(1),
  region: z.string().min(1),
  date: z.iso.date(),
  currency: z.string().length(3),
  put_per_1000: price,
  get_per_1000: price,
  /** In steps: so much a GB of the first ones, less of the next. The last step has no end. */
  standard_gb_month: z
    .array(z.strictObject({ up_to_gb: z.number().positive().nullable(), price }))
    .min(1)
    .refine((steps) => steps.at(-1)?.up_to_gb === null, "the last step has no end"),
  glacier: archive,
  deep_archive: archive,
  /** What an archived object costs beside its own bytes: a name and metadata at the price of Standard, an index beside it. */
  archived_object: z.strictObject({
    standard_bytes: z.int().nonnegative(),
    archive_bytes: z.int().nonnegative(),
  }),
});

export type PriceTable = z.infer<typeof priceTable>;

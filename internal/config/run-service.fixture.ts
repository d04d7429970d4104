// A service for run-service.integration.test.ts. Its configuration says how it behaves.
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { commonFields } from "./fields.ts";
import { runService } from "./run-service.ts";

const config = z.strictObject({
  ...commonFields,
  behaviour: z.enum([
    "good",
    "fails to start",
    "never starts",
    "fails later",
    "throws later",
    "rejects later",
    "never stops",
  ]),
});

process.exit(
  await runService({
    name: "fixture",
    config,
    stopLimitMs: 500,
    start: async ({ config: { behaviour }, fail }) => {
      if (behaviour === "fails to start") throw new Error("planted");
      if (behaviour === "never starts") await sleep(60_000);
      if (behaviour === "fails later") setTimeout(() => fail(new Error("planted")), 10);
      if (behaviour === "rejects later") setTimeout(() => Promise.reject(new Error("planted")), 10);
      if (behaviour === "throws later") {
        setTimeout(() => {
          throw new Error("planted");
        }, 10);
      }
      return {
        async [Symbol.asyncDispose]() {
          if (behaviour === "never stops") await sleep(60_000);
          console.log("disposed");
        },
      };
    },
  }),
);

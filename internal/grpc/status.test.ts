import { toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StatusSchema } from "../../gen/ts/google/rpc/status_pb.js";
import { type ErrorKind, ServiceError } from "../core/errors.ts";
import { codeOf, errorFromStatus, kindOf, statusOf } from "./status.ts";

// The numbers are fixed by https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
const NUMBERS: Record<ErrorKind, number> = {
  cancelled: 1,
  "invalid-argument": 3,
  "deadline-exceeded": 4,
  "not-found": 5,
  "already-exists": 6,
  "permission-denied": 7,
  "resource-exhausted": 8,
  "failed-precondition": 9,
  aborted: 10,
  internal: 13,
  unavailable: 14,
  "data-loss": 15,
};

describe("the table", () => {
  test.each(Object.entries(NUMBERS))("%s is %i", (kind, code) => {
    expect(codeOf(kind as ErrorKind)).toBe(code); // NUMBERS has only these keys
    expect(kindOf(code)).toBe(kind);
  });

  test("codes we never send have a meaning when a peer sends them", () => {
    expect(kindOf(Code.Unknown)).toBe("internal");
    expect(kindOf(Code.OutOfRange)).toBe("invalid-argument");
    expect(kindOf(Code.Unimplemented)).toBe("internal");
    expect(kindOf(Code.Unauthenticated)).toBe("permission-denied");
    expect(kindOf(99)).toBe("internal");
  });
});

describe("a status", () => {
  test("says nothing of an error that is not ours", () => {
    const status = statusOf(new Error("relation voters does not exist"));
    expect(status.code).toBe(Code.Internal);
    expect(status.message).toBe("internal error");
    expect(status.details).toEqual([]);
    expect(statusOf("a string").code).toBe(Code.Internal);
  });

  test("never has the cause", () => {
    const status = statusOf(new ServiceError("unavailable", "try later", { cause: new Error("secret") }));
    expect(new TextDecoder().decode(toBinary(StatusSchema, status))).not.toContain("secret");
  });

  test("comes back as the error it was made of", () => {
    const text = fc.string({ maxLength: 100, unit: "grapheme" });
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(NUMBERS) as ErrorKind[])), // NUMBERS has only these keys
        text,
        fc.option(text, { nil: undefined }),
        fc.array(fc.record({ field: text, description: text }), { maxLength: 20 }),
        fc.option(fc.integer({ min: 0, max: 10_000_000 }), { nil: undefined }),
        (kind, message, reason, fields, retryDelayMs) => {
          const error = new ServiceError(kind, message, {
            ...(reason !== undefined && { reason }),
            ...(retryDelayMs !== undefined && { retryDelayMs }),
            fields,
          });
          const back = errorFromStatus(statusOf(error));
          expect(back.kind).toBe(kind);
          expect(back.message).toBe(message.toWellFormed());
          expect(back.reason).toBe(reason);
          expect(back.fields).toEqual(fields);
          expect(back.retryDelayMs).toBe(retryDelayMs);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("keeps a fraction of a millisecond", () => {
    const error = new ServiceError("unavailable", "", { retryDelayMs: 1234.5 });
    expect(errorFromStatus(statusOf(error)).retryDelayMs).toBe(1234.5);
  });

  test("fits a trailer however many fields are wrong", () => {
    const fields = Array.from({ length: 70_000 }, (_, i) => ({
      field: `choices[${i}]`,
      description: "x".repeat(500),
    }));
    const status = statusOf(new ServiceError("invalid-argument", "y".repeat(100_000), { fields }));
    expect(toBinary(StatusSchema, status).length).toBeLessThan(8192);
    expect(errorFromStatus(status).fields.at(-1)?.description).toBe("and 69976 more");
  });

  test("takes no reason of another domain for ours", () => {
    const status = statusOf(new ServiceError("unavailable", "", { reason: "ALREADY_VOTED" }));
    const [info] = status.details;
    if (info) info.value = new Uint8Array([0x0a, 1, 0x41, 0x12, 1, 0x42]); // reason "A", domain "B"
    expect(errorFromStatus(status).reason).toBeUndefined();
  });
});

import { expect, test } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { ObjectStoreError } from "../worm/object-store.ts";
import { AuditFixture } from "./audit-fixture.ts";
import { HaltError, isFatal } from "./halt.ts";
import { putAndReadBack } from "./put-evidence.ts";

const body = utf8("evidence");

test("an object that is not read back is put again; only other bytes halt", async () => {
  await using fixture = await AuditFixture.create();
  const { evidence } = fixture;
  const answering = (answer: Uint8Array | undefined) => ({
    put: (key: string, bytes: Uint8Array) => evidence.put(key, bytes),
    stat: (key: string) => evidence.stat(key),
    list: (prefix: string) => evidence.list(prefix),
    get: async () => answer,
  });
  const nothing = await putAndReadBack(answering(undefined), "a/x", body).catch((error: unknown) => error);
  expect(nothing).toBeInstanceOf(ObjectStoreError);
  expect(nothing).toMatchObject({ failure: "failed" });
  expect(isFatal(nothing)).toBe(false);
  expect(await putAndReadBack(evidence, "a/x", body)).toMatchObject({ key: "a/x", bytes: 8 });
  await expect(putAndReadBack(answering(utf8("evidencf")), "a/x", body)).rejects.toThrow(HaltError);
});

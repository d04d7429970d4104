import { expect, test } from "vitest";
import { ServiceError } from "../core/errors.ts";
import { HttpError, isFault, problemOf } from "./problem.ts";

test.each([
  ["invalid-argument", 400, "Bad Request"],
  ["not-found", 404, "Not Found"],
  ["already-exists", 409, "Conflict"],
  ["failed-precondition", 409, "Conflict"],
  ["aborted", 409, "Conflict"],
  ["permission-denied", 403, "Forbidden"],
  ["resource-exhausted", 429, "Too Many Requests"],
  ["unavailable", 503, "Service Unavailable"],
  ["deadline-exceeded", 503, "Service Unavailable"],
  ["cancelled", 503, "Service Unavailable"],
] as const)("%s is %i", (kind, status, title) => {
  const error = new ServiceError(kind, "what happened", {
    reason: "WHY",
    fields: [{ field: "voter_id", description: "must not be empty" }],
    cause: new Error("underneath"),
  });
  expect(problemOf(error)).toEqual({
    type: "about:blank",
    title,
    status,
    detail: "what happened",
    reason: "WHY",
    fields: [{ field: "voter_id", description: "must not be empty" }],
  });
  expect(isFault(error)).toBe(false);
});

test.each([
  ["an internal error", new ServiceError("internal", "a secret", { reason: "SECRET" })],
  ["lost data", new ServiceError("data-loss", "a secret")],
  ["anything else that is thrown", new TypeError("a secret")],
  ["even no error at all", "a secret"],
])("%s is 500 and says nothing", (_name, error) => {
  expect(problemOf(error)).toEqual({
    type: "about:blank",
    title: "Internal Server Error",
    status: 500,
    detail: "internal error",
  });
  expect(isFault(error)).toBe(true);
});

test("what only HTTP can refuse is said in HTTP's words", () => {
  expect(problemOf(new HttpError(405, "use POST", { Allow: "POST" }))).toEqual({
    type: "about:blank",
    title: "Method Not Allowed",
    status: 405,
    detail: "use POST",
  });
});

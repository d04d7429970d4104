import { expect, test } from "vitest";
import { mayCall, parseIdentity } from "../grpc/identity.ts";
import { shardRouterCallers } from "./callers.ts";

/** The methods that whoever has this id may call. */
function allowedTo(id: string): string[] {
  const peer = parseIdentity(`spiffe://psephos.test/${id}`, "psephos.test");
  return Object.entries(shardRouterCallers).flatMap(([method, callers]) =>
    mayCall(peer, callers) ? method : [],
  );
}

test("auditors read the chains and do nothing else; clients and operators nothing at all", () => {
  expect(allowedTo("auditor/jane")).toEqual(["readChain"]);
  expect(allowedTo("client/polling-1")).toEqual([]);
  expect(allowedTo("operator/local")).toEqual([]);
  expect(allowedTo("service/publisher")).toEqual([]);
});

test("only VoteService writes votes, and only AuditService confirms", () => {
  expect(allowedTo("service/audit-service")).toEqual([
    "getElection",
    "listElections",
    "readChain",
    "findRecords",
    "heads",
    "confirmSealed",
  ]);
  expect(allowedTo("service/vote-service")).not.toContain("confirmSealed");
  expect(allowedTo("service/vote-service")).toContain("append");
});

import { create } from "@bufbuild/protobuf";
import { createHandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import {
  AuditService,
  GetConsistencyProofRequestSchema,
  GetInclusionProofRequestSchema,
} from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { toHex } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { asHash } from "../core/sha256.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { GrowingTree } from "../tlog/growing-tree.ts";
import { verifyConsistency, verifyInclusion } from "../tlog/proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { AuditFixture, silentLogger } from "./audit-fixture.ts";
import { auditService } from "./audit-service.ts";
import { ElectionSealer } from "./election-sealer.ts";
import { auditMetrics } from "./metrics.ts";
import type { Publisher } from "./publication.ts";
import type { ShardRouter } from "./shard-watch.ts";

/** The service over a fixture's stores, as one that stands by answers: from the committed head row. */
function serve(fixture: AuditFixture) {
  const { election, stores } = fixture;
  const sealer = new ElectionSealer({
    election,
    stores,
    // It never runs, so it calls neither.
    router: {} as ShardRouter,
    publisher: {} as Publisher,
    limits: { headIntervalMs: 20, pollIntervalMs: 30, bufferRecords: 30_000 },
    metrics: auditMetrics(new Metrics({ service: "test" })),
    clock: systemClock,
    logger: silentLogger,
    signal: new AbortController().signal,
  });
  const service = auditService({ sealerOf: async () => sealer, stores });
  const { electionId } = election;
  const contextOf = (method: keyof typeof AuditService.method) =>
    createHandlerContext({
      service: AuditService,
      method: AuditService.method[method],
      protocolName: "grpc",
      requestMethod: "POST",
      url: "https://test/",
    });
  return {
    inclusion: async (index: number, size: number) => {
      const entry = { case: "index" as const, value: BigInt(index) };
      const request = { electionId, entry, treeSize: BigInt(size) };
      const answer = await service.getInclusionProof(
        create(GetInclusionProofRequestSchema, request),
        contextOf("getInclusionProof"),
      );
      return {
        entry: answer.entry ?? new Uint8Array(),
        root: asHash(answer.root ?? new Uint8Array()),
        proof: (answer.proof ?? []).map(asHash),
      };
    },
    consistency: async (oldSize: number, newSize: number) => {
      const request = { electionId, oldSize: BigInt(oldSize), newSize: BigInt(newSize) };
      const answer = await service.getConsistencyProof(
        create(GetConsistencyProofRequestSchema, request),
        contextOf("getConsistencyProof"),
      );
      return {
        newRoot: asHash(answer.newRoot ?? new Uint8Array()),
        proof: (answer.proof ?? []).map(asHash),
      };
    },
  };
}

/** A log of the manifest and a commit for each number of votes. */
async function grow(fixture: AuditFixture, commits: readonly number[]) {
  const log = await fixture.open();
  await log.commit([{ type: "manifest", manifestHash: fixture.election.manifestHash }]);
  for (const votes of commits) {
    const records = fixture.shards.cast(votes).flat();
    await log.commit(records.map((record) => ({ type: "vote", record })));
  }
  return log.head;
}

describe("proofs", () => {
  test("for every size of a log that grew in a few commits, whether or not it was a head's", async () => {
    await using fixture = await AuditFixture.create();
    const { treeSize: size } = await grow(fixture, [5, 200, 320]);
    const { inclusion, consistency } = serve(fixture);
    const roots = [GrowingTree.empty().root()];
    const tree = GrowingTree.empty();
    for (let index = 0; index < size; index++) {
      tree.append((await inclusion(index, size)).entry);
      roots.push(tree.root());
    }
    for (let newSize = 1; newSize <= size; newSize++) {
      const [index, oldSize] = [17_389 % newSize, (newSize * 31) % (newSize + 1)];
      const { entry, root, proof } = await inclusion(index, newSize);
      expect(toHex(root)).toBe(toHex(roots[newSize] ?? new Uint8Array()));
      verifyInclusion({ leaf: leafHash(entry), index, size: newSize, proof, root });
      const { newRoot, proof: extension } = await consistency(oldSize, newSize);
      expect(toHex(newRoot)).toBe(toHex(root));
      const oldRoot = roots[oldSize] ?? root;
      verifyConsistency({ oldSize, oldRoot, newSize, newRoot, proof: extension });
    }
    await expect(inclusion(0, size + 1)).rejects.toMatchObject({ kind: "invalid-argument" });
    await expect(inclusion(300, 300)).rejects.toMatchObject({ kind: "invalid-argument" });
    await expect(consistency(301, 300)).rejects.toMatchObject({ kind: "invalid-argument" });
  });
});

// The tile folder is a copy that can be made again: it may go at any time, and nobody has to restart anything.
import { rename } from "node:fs/promises";
import { afterAll, beforeAll, test } from "vitest";
import { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { ServiceError } from "../core/errors.ts";
import { asHash } from "../core/sha256.ts";
import { verifyInclusion } from "../tlog/proof.ts";
import { leafHash } from "../tlog/tree.ts";
import { TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  stack = resources.use(await TestStack.start());
});
afterAll(() => resources.disposeAsync());

test("tiles wiped while votes are sealed: sealing and signing go on, and every entry can be proved again", async () => {
  const audit = await stack.client(AuditService, "client/test");
  const election = await stack.createElection("wiped");
  const casting = await election.startCasting();
  await casting.acknowledged(500);
  await until("the first votes are public", async () => (await election.publishedSize()) > 300);

  const { tiles } = stack.stack.folders;
  await rename(tiles, `${tiles}-wiped`);
  const size = await election.publishedSize();
  await casting.acknowledged(500);
  await casting.stop();
  await until("what was cast since is public", async () => (await election.publishedSize()) > size + 100);

  for (const index of [0, 1, 255, 256, size - 1]) {
    const request = { electionId: election.id, entry: { case: "index", value: BigInt(index) } } as const;
    await until("the entry can be proved", async () => {
      try {
        const { entry, root, proof, treeSize } = await audit.getInclusionProof(request);
        const leaf = leafHash(entry);
        verifyInclusion({
          leaf,
          index,
          size: Number(treeSize),
          proof: proof.map(asHash),
          root: asHash(root),
        });
        return true;
      } catch (error) {
        if (error instanceof ServiceError && error.reason === "TILES_MISSING") return false;
        throw error;
      }
    });
  }
  await election.drain();
  await election.expectExactly();
});

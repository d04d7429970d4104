// Evidence in a bucket, over real processes: what each S3 server's outages and refusals do to an election. Votes go on;
// sealing waits, says for what, and goes on by itself.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findS3Server, S3_IMPLEMENTATIONS } from "../../deploy/local/s3-binaries.ts";
import { AuditService, type Head } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { BucketConfig } from "../config/evidence.ts";
import { blockPrefix, parseVoteKey, votesPrefix } from "../evidence/layout.ts";
import { createS3Client } from "../worm/s3-client.ts";
import { S3Store } from "../worm/s3-store.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";

describe.each(S3_IMPLEMENTATIONS)("with evidence in %s, a vote an object,", (implementation) => {
  let stack: TestStack;
  let audit: Client<typeof AuditService>;

  beforeAll(async () => {
    const server = await findS3Server(implementation);
    stack = await TestStack.start({ store: { kind: "server", server }, layout: "object-per-vote" });
    audit = await stack.client(AuditService, "operator/test");
  });
  afterAll(() => stack?.[Symbol.asyncDispose]());

  async function headOf({ id }: TestElection): Promise<Head | undefined> {
    return (await audit.getHead({ electionId: id })).head;
  }

  /** Starts AuditService again with another bucket, or other credentials. */
  async function reconfigure(changes: Partial<BucketConfig>): Promise<void> {
    const service = stack.stack.services["audit-service"];
    const { s3, layout } = stack.stack.evidence.config;
    service.config = { ...service.config, evidence: { s3: { ...s3, ...changes }, layout } };
    await service.restart();
    audit = await stack.client(AuditService, "operator/test"); // The old connection would try again when it thinks fit.
  }

  const failures = () => stack.metric("audit-service", "psephos_audit_evidence_failures_total");

  test("the server is killed and restarted in the middle of the votes: nothing is lost", async () => {
    const { server } = stack.stack.evidence;
    const election = await stack.createElection("s3-killed");
    for (let round = 0; round < 2; round++) {
      const casting = await election.startCasting();
      await casting.acknowledged(100);
      await server?.kill();
      await casting.acknowledged(100);
      await casting.stop();
      await until("the outage is known", async () => {
        const { waitingBecause = "" } = (await headOf(election)) ?? {};
        return /^S3 did not .*: it cannot be reached \(/.test(waitingBecause);
      });
      await server?.start();
    }
    await election.cast(election.ballots(50));
    await election.drain();
    expect((await headOf(election))?.waitingBecause).toBe("");
    await election.expectExactly();

    // Each vote is an object of its own, and each object is locked for ten years.
    if (!(election.evidence instanceof S3Store)) throw new TypeError("the evidence is not in S3");
    const votes = [];
    for await (const key of election.evidence.list(votesPrefix(election.id))) {
      if (parseVoteKey(key)) votes.push(key);
    }
    expect(votes).toHaveLength(election.ledger.size);
    const { retention } = (await election.evidence.stat(votes.at(-1) ?? "")) ?? {};
    expect(retention?.mode).toBe("COMPLIANCE");
    expect((retention?.until.getTime() ?? 0) - Date.now()).toBeGreaterThan(3_650 * 86_400_000);
    for await (const version of election.evidence.listVersions(blockPrefix(election.id, 1))) {
      expect(version).toMatchObject({ deleteMarker: false, latest: true });
    }
  });

  test("credentials that are not taken: votes go on, sealing waits, and a new file repairs it", async () => {
    const { server, config } = stack.stack.evidence;
    const known = config.s3?.credentials?.secret_access_key_file ?? "";
    const file = join(stack.stack.folders.evidence, "..", "secrets", "s3");
    await writeFile(file, "bm90IHRoZSBzZWNyZXQ=\n", { mode: 0o600 });
    const credentials = { access_key_id: server?.accessKeyId, secret_access_key_file: file };
    await reconfigure({ credentials });

    const election = await stack.createElection("s3-credentials");
    await election.cast(election.ballots(50));
    await until("it is known", async () => Boolean((await headOf(election))?.waitingBecause));
    const head = await headOf(election);
    expect(head?.waitingBecause).toMatch(/does not take the credentials/);
    expect([Number(head?.treeSize), head?.haltedBecause]).toEqual([0, ""]);
    expect(await failures()).toBeGreaterThan(0);

    const seen = await readFile(stack.stack.services["audit-service"].logFile, "utf8");
    expect(seen).toContain("the evidence store fails: sealing waits, votes are taken and kept");
    await writeFile(file, await readFile(known));
    await election.drain();
    await election.expectExactly();
    await reconfigure({});
  });

  test("a bucket without Object Lock is refused with the reason, and so is one that is not there", async () => {
    const { server } = stack.stack.evidence;
    if (!server) throw new Error("no server");
    await reconfigure({ bucket: "unlocked" });
    const election = await stack.createElection("s3-unlocked");
    const reason = async () => (await headOf(election))?.waitingBecause ?? "";
    await until("it is refused", async () => (await reason()).includes("there is no bucket unlocked"));

    using client = disposable(createS3Client(await server.connection()));
    await client.send(new CreateBucketCommand({ Bucket: "unlocked" }));
    await until("it is refused", async () => (await reason()).includes("bucket unlocked has no Object Lock"));
    await election.cast(election.ballots(50));
    expect(Number((await headOf(election))?.treeSize)).toBe(0);
    await using store = new S3Store({ ...(await server.connection()), bucket: "unlocked" });
    for await (const version of store.listVersions("")) expect(version).toBeUndefined();

    await reconfigure({});
    await election.drain();
    await election.expectExactly();
  });
});

function disposable<T extends { destroy(): void }>(client: T): T & Disposable {
  return Object.assign(client, { [Symbol.dispose]: () => client.destroy() });
}

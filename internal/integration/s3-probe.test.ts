// The probe over real processes: what AuditService does with what it finds, and the command.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CreateBucketCommand, PutBucketVersioningCommand } from "@aws-sdk/client-s3";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findS3Server } from "../../deploy/local/s3-binaries.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { AuditService, type Head, SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { BucketConfig } from "../config/evidence.ts";
import { createS3Client } from "../worm/s3-client.ts";
import { type Finished, psephos, writeProfile } from "./cli-fixture.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
let audit: Client<typeof AuditService>;
let folder: TemporaryFolder;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
  stack = await TestStack.start({ store: { kind: "server", server: await findS3Server("versitygw") } });
  audit = await stack.client(AuditService, "operator/test");
  await writeProfile(stack, folder.path);
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

function cli(...args: string[]): Promise<Finished> {
  return psephos(args, { cwd: folder.path, env: { PSEPHOS_HOME: folder.path } });
}

describe("AuditService", () => {
  async function headOf({ id }: TestElection): Promise<Head | undefined> {
    return (await audit.getHead({ electionId: id })).head;
  }

  /** Starts AuditService again with another minimum. */
  async function demand(
    ...minimum: NonNullable<NonNullable<BucketConfig["probe"]>["minimum"]>
  ): Promise<void> {
    const service = stack.stack.services["audit-service"];
    const { s3, layout } = stack.stack.evidence.config;
    const probe = minimum.length > 0 ? { probe: { minimum } } : {};
    if (!s3) throw new Error("the evidence is not in S3");
    service.config = { ...service.config, evidence: { s3: { ...s3, ...probe }, layout } };
    await service.restart();
    audit = await stack.client(AuditService, "operator/test"); // The old connection would try again when it thinks fit.
  }

  test("probes its bucket, and each log tells of it", async () => {
    const election = await stack.createElection("probed");
    await election.cast(election.ballots(50));
    await election.drain();
    await election.expectExactly();
    const { status, stdout, stderr } = await cli("verify", "--election", "probed", "--json");
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ result: "ok", checked: { records: 50, events: 1 } });
    expect(
      await stack.metric("audit-service", "psephos_worm_probe_completed_timestamp_seconds"),
    ).toBeGreaterThan(Date.now() / 1000 - 600);
  });

  test("seals nothing where the minimum does not hold, while votes are taken; and goes on where it does", async () => {
    await demand("delete-version", "legal-hold-after-expiry"); // versitygw does not keep such holds.
    const election = await stack.createElection("paused");
    await until("sealing is paused", async () => {
      const { waitingBecause = "", state } = (await headOf(election)) ?? {};
      return state === SealingState.PAUSED && waitingBecause.includes("legal-hold-after-expiry");
    });
    await election.cast(election.ballots(40));
    const status = await cli("status", "--election", "paused");
    expect(status.stdout).toMatch(/sealing +paused/);
    expect(status.stdout).toMatch(
      /WAITING +the evidence store failed its probe: legal-hold-after-expiry \(.*the version is gone\)/,
    );
    expect(Number((await headOf(election))?.treeSize)).toBe(0);
    expect(await stack.metric("audit-service", "psephos_audit_paused")).toBe(1);

    await demand();
    await election.drain();
    await election.expectExactly();
  });
});

describe("psephos worm probe", () => {
  test("tells what held, for people and for programs", async () => {
    const { status, stdout, stderr } = await cli("worm", "probe", "--seconds", "30");
    expect(status, stderr).toBe(5);
    expect(stdout).toMatch(/^held +critical +writer +delete a locked version +refused \(AccessDenied\)/m);
    expect(stdout).toMatch(/^BROKEN +serious +writer +delete a version under a legal hold/m);
    expect(stdout).toMatch(/^s3:\/\/psephos-evidence: what is critical held; something serious did not$/m);
    expect(stdout).toContain("without a lock");
    expect(stderr).toContain("probing");

    const { server } = stack.stack.evidence;
    const { credentials } = (await server?.connection()) ?? {};
    const file = join(folder.path, "admin.json");
    await writeFile(
      file,
      JSON.stringify({
        access_key_id: credentials?.accessKeyId,
        secret_access_key: credentials?.secretAccessKey,
      }),
    );
    const both = await cli("worm", "probe", "--no-lasting", "--admin-credentials", file, "--json");
    const report = JSON.parse(both.stdout);
    expect(both.stdout).not.toMatch(/legal-hold|default/);
    expect(report).toMatchObject({ format: "psephos/worm-probe/v1", store: "s3://psephos-evidence" });
    expect(report.results).toContainEqual({
      check: "delete-version-bypass",
      as: "admin",
      severity: "critical",
      verdict: "held",
      observed:
        "refused (AccessDenied); the version is as it was; not proved: perhaps these credentials may not",
    });
  });

  test("has exit status 1 where evidence can be destroyed", async () => {
    const { server } = stack.stack.evidence;
    if (!server) throw new Error("no server");
    const client = createS3Client(await server.connection());
    const Bucket = "versions-alone";
    await client.send(new CreateBucketCommand({ Bucket }));
    await client.send(
      new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Enabled" } }),
    );
    client.destroy();
    const { status, stdout } = await cli("worm", "probe", "--evidence", `s3://${Bucket}`);
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /^BROKEN +critical +writer +delete a locked version +accepted; the version is gone$/m,
    );
    expect(stdout).toMatch(/EVIDENCE CAN BE DESTROYED HERE/);
  });

  test("refuses what it cannot probe, and has tried nothing", async () => {
    const bad = join(folder.path, "bad.json");
    await writeFile(bad, '{"access_key_id":"x","secret":"hush"}');
    const cases: readonly (readonly [status: number, says: string, ...args: string[]])[] = [
      [2, "a directory cannot lock", "--evidence", folder.path],
      [2, "there is no bucket nowhere-at-all", "--evidence", "s3://nowhere-at-all"],
      [2, `${bad} is not {"access_key_id"`, "--admin-credentials", bad],
      [2, "--admin-credentials cannot be read", "--admin-credentials", join(folder.path, "none.json")],
      [2, "from 10 to 3600", "--seconds", "9"],
      [2, "from 10 to 3600", "--seconds", "3601"],
      [
        3,
        "S3 did not answer for bucket town",
        "--evidence",
        "s3://town",
        "--s3-endpoint",
        "http://127.0.0.1:9",
      ],
    ];
    for (const [status, says, ...args] of cases) {
      const env = { PSEPHOS_HOME: folder.path, AWS_ACCESS_KEY_ID: "x", AWS_SECRET_ACCESS_KEY: "x" };
      const refused = await psephos(["worm", "probe", ...args], { cwd: folder.path, env });
      expect([refused.status, refused.stdout], args.join(" ")).toEqual([status, ""]);
      expect(refused.stderr).toContain(says);
      expect(refused.stderr).not.toContain("hush");
    }
  });
});

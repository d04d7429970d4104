// `npm start` with its evidence in S3: in a server of its own, and in one that runs already.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { loadProfile } from "../cli/profile.ts";
import { TestS3 } from "../worm/test-s3.ts";
import { type Finished, psephos } from "./cli-fixture.ts";

let folder: TemporaryFolder;

beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder?.[Symbol.asyncDispose]());

function start(home: string, args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const options = ["start", "--exit", "--json", "--home", join(folder.path, home), ...args];
  return psephos(options, { env });
}

/** The line that `--json` ends with. */
function resultOf({ status, stdout, stderr }: Finished): unknown {
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

test("--store s3 starts a server, and the folder stays with it", async () => {
  const run = await start("own", ["--store", "s3", "--ballots", "2000"]);
  // With the manifest's entry, the closing one, and the event of a probe.
  expect(resultOf(run)).toMatchObject({ cast: 2_000, log_size: 2_003, audit: "ok", tally_matches: true });
  const profile = await loadProfile(join(folder.path, "own", "profile.json"));
  expect(profile?.evidence).toMatchObject({ s3: { bucket: "psephos-evidence" }, layout: "segments" });

  for (const [args, message] of [
    [["--store", "directory"], "was begun with its evidence in a local S3 server, versitygw"],
    [["--s3-server", "minio"], "was begun with its evidence in a local S3 server, versitygw"],
    [["--s3-endpoint", "http://127.0.0.1:9"], "was begun with its evidence in a local S3 server, versitygw"],
    [["--store", "directory", "--s3-server", "minio"], "--s3-… options are for --store s3"],
    [["--s3-bucket", "b"], "for an S3 that --s3-endpoint names"],
  ] as const) {
    const refused = await start("own", args);
    expect([refused.status, refused.stdout]).toEqual([2, ""]);
    expect(refused.stderr).toContain(message);
  }

  const again = await start("own", ["--ballots", "300", "--layout", "object-per-vote"]);
  expect(resultOf(again)).toMatchObject({ cast: 300, audit: "ok", tally_matches: true });
});

test("--s3-endpoint uses one that runs, with credentials from the environment, for a day", async () => {
  await using s3 = await TestS3.start("minio");
  const { endpoint, credentials } = s3.connection;
  const where = ["--s3-endpoint", endpoint, "--s3-ca", s3.server.caFile, "--s3-bucket", "town"];
  const env = {
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  };
  const run = await start("given", [...where, "--ballots", "300"], env);
  expect(resultOf(run)).toMatchObject({ cast: 300, audit: "ok", tally_matches: true });
  expect(run.stderr).toMatch(/lacks what this S3 server does not have.*:\n {2}lifecycle: not supported/);

  const profile = join(folder.path, "given", "profile.json");
  const { evidence } = (await loadProfile(profile)) ?? {};
  expect(evidence?.s3).toMatchObject({
    endpoint,
    bucket: "town",
    retention: { mode: "COMPLIANCE", days: 1 },
  });

  // The evidence alone, by the profile; by a stranger, who names everything; and with what is wrong with that.
  const { prefix } = evidence?.s3 ?? {};
  const stranger = (place: string, more: string[] = where.slice(0, 4), environment = env) =>
    psephos(["verify", "--election", "vermont-2020-first-300", "--evidence", place, "--json", ...more], {
      cwd: folder.path,
      env: environment,
    });
  const checked = await stranger(`s3://town/${prefix}`);
  expect(JSON.parse(checked.stdout), checked.stderr).toMatchObject({
    result: "ok",
    checked: { records: 300 },
  });
  expect((await stranger("s3://town/nowhere")).status).toBe(1);
  const refusals = await Promise.all([
    stranger(`s3://nowhere/${prefix}`),
    stranger(`s3://town/${prefix}`, where.slice(0, 4), { ...env, AWS_SECRET_ACCESS_KEY: "wrong" }),
    stranger(`s3://town/${prefix}`, ["--s3-endpoint", "http://127.0.0.1:9"]),
    stranger(`s3://town/${prefix}`, where.slice(0, 2)),
  ]);
  expect(refusals.map(({ status, stdout }) => [status, stdout])).toEqual([
    [2, ""],
    [2, ""],
    [3, ""],
    [3, ""],
  ]);
  for (const { stderr } of refusals) expect(stderr).toMatch(/^psephos: S3 did not /);

  const init = await psephos(["worm", "init", "--evidence", "s3://town", ...where.slice(0, 4), "--json"], {
    env,
  });
  expect([init.status, init.stderr]).toEqual([0, ""]);
  expect(JSON.parse(init.stdout)).toMatchObject({ bucket: "town", dry_run: false, ok: true });
});

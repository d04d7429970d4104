// Audits of evidence on real S3 servers with Object Lock, among them what an administrator does there.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { S3_IMPLEMENTATIONS } from "../../../deploy/local/s3-binaries.ts";
import { TemporaryFolder } from "../../../deploy/local/temporary-folder.ts";
import { type EvidenceConfig, evidenceConfig } from "../../config/evidence.ts";
import { checkpointKey, EVIDENCE_LAYOUTS, manifestKey, parseVoteKey } from "../../evidence/layout.ts";
import { decodeSegmentLines, encodeSegment } from "../../evidence/segment.ts";
import {
  encodeVoteCheckpoint,
  parseVoteCheckpoint,
  type StoredSegment,
} from "../../evidence/vote-checkpoint.ts";
import { TestLog } from "../../verify/test-log.ts";
import type { RetentionMode } from "../../worm/object-store.ts";
import { openEvidenceStore } from "../../worm/open-evidence.ts";
import { S3Store } from "../../worm/s3-store.ts";
import { TestS3 } from "../../worm/test-s3.ts";
import { type Audit, runAudit, WHOLE_LOG } from "./run-audit.ts";
import { SegmentPool } from "./segment-pool.ts";

const NOTHING = new Uint8Array();

describe.each(S3_IMPLEMENTATIONS)("%s", (implementation) => {
  let s3: TestS3;
  let folder: TemporaryFolder;

  beforeAll(async () => {
    s3 = await TestS3.start(implementation);
    folder = await TemporaryFolder.create();
  });

  afterAll(async () => {
    await s3[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  describe.each(EVIDENCE_LAYOUTS)("layout %s", (layout) => {
    let log: TestLog;

    beforeAll(async () => {
      log = await TestLog.create({ layout, commits: [20, 30] });
    });

    test("every object and its lock", async () => {
      const { place } = await stored(log, "COMPLIANCE");
      const { report, evidence } = await audit(log, place);
      expect(report.problems).toEqual([]);
      expect(report.warnings).toEqual([]);
      expect(report.notChecked).toEqual([]);
      expect(report.checked).toMatchObject({ records: 50, locks: log.evidence.size });
      expect(evidence?.size).toBe(52);
    });

    test("what lies over an object, and locks that were shortened or are missing", async () => {
      const { place, bucket } = await stored(log, "GOVERNANCE", { unlocked: manifestKey(log.electionId) });
      const [shortened, over, hidden] = [1, 25, 51].map((index) => log.segmentOf(index)) as [
        string,
        string,
        string,
      ];
      await s3.changeRetention(bucket, shortened, new Date(Date.now() + 86_400_000));
      await s3.put(bucket, over, NOTHING);
      await s3.putDeleteMarker(bucket, hidden);
      const { report } = await audit(log, place);
      const problems = report.problems.map(({ object, problem }) => `${object} ${problem}`);
      expect(problems).toEqual([
        expect.stringMatching(new RegExp(`^${manifestKey(log.electionId)} is not locked`)),
        expect.stringMatching(new RegExp(`^${shortened} is locked until .* alone`)),
      ]);
      expect(report.warnings.map(({ object, problem }) => `${object} ${problem}`)).toEqual([
        `${over} has 1 newer version over it; the first version is the evidence`,
        `${hidden} has 1 delete marker over it; the first version is the evidence`,
      ]);
      expect(report.checked.records).toBe(50);
      // Another mode than the one demanded is named of each object.
      const strict = await audit(log, place, "COMPLIANCE");
      expect(strict.report.problems.filter(({ problem }) => problem.includes("GOVERNANCE"))).toHaveLength(
        log.evidence.size - 1,
      );
    });
  });

  /** Puts a log's evidence into a new bucket, with the versions that the bucket gives named where they are named. */
  async function stored(log: TestLog, mode: RetentionMode, { unlocked = "" } = {}) {
    const bucket = await s3.createBucket();
    const place = placeOf(bucket, mode);
    await using store = await openEvidenceStore(place);
    if (!(store instanceof S3Store)) throw new Error("not a bucket");
    const bodyOf = (key: string) => log.evidence.get(key) ?? NOTHING;
    if (unlocked) await s3.put(bucket, unlocked, bodyOf(unlocked));
    else await store.put(manifestKey(log.electionId), bodyOf(manifestKey(log.electionId)));
    const votes = new Map<number, string>();
    for (const key of log.evidence.keys()) {
      const vote = parseVoteKey(key);
      if (vote) votes.set(vote.id, (await store.put(key, bodyOf(key))).versionId);
    }
    const segments = new Map<string, StoredSegment>();
    for (const key of log.segmentKeys) {
      const lines = decodeSegmentLines(bodyOf(key));
      const entries = lines.entries.map((line) =>
        line.type === "vote-ref" ? { ...line, versionId: votes.get(line.id) ?? "" } : line,
      );
      segments.set(key, await store.put(key, encodeSegment({ ...lines, entries })));
    }
    const key = checkpointKey(log.electionId, 1);
    const checkpoint = parseVoteCheckpoint(bodyOf(key));
    const named = checkpoint.segments.map((segment) => segments.get(segment.key) ?? segment);
    await store.put(key, encodeVoteCheckpoint({ ...checkpoint, segments: named }));
    return { place, bucket };
  }

  function placeOf(bucket: string, mode: RetentionMode): EvidenceConfig {
    const { endpoint, region, caFile, accessKeyId, secretAccessKeyFile } = s3.server;
    const credentials = { access_key_id: accessKeyId, secret_access_key_file: secretAccessKeyFile };
    const retention = { mode, days: 30 };
    return evidenceConfig.parse({ s3: { endpoint, region, bucket, ca: caFile, credentials, retention } });
  }

  async function audit(log: TestLog, place: EvidenceConfig, demanded?: RetentionMode): Promise<Audit> {
    const mode = demanded ?? place.s3?.retention.mode ?? "COMPLIANCE";
    const lock = { mode, now: Date.now() };
    await using store = await openEvidenceStore(place);
    if (!(store instanceof S3Store)) throw new Error("not a bucket");
    await using checker = new SegmentPool({ workers: 1, evidence: place, lock, eventKey: undefined });
    return await runAudit({
      electionId: log.electionId,
      place: "s3",
      store,
      listVersions: (prefix) => store.listVersions(prefix),
      lock: { ...lock, stat: (key, versionId) => store.stat(key, versionId) },
      checker,
      range: WHOLE_LOG,
      source: log.source,
      logKey: log.manifest.logKey,
      eventKey: undefined,
      stateFolder: join(folder.path, "state"),
      resume: false,
      onProgress: () => {},
    });
  }
});

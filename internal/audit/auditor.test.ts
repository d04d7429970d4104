import { create } from "@bufbuild/protobuf";
import { afterEach, expect, test } from "vitest";
import {
  ElectionState,
  HeadsResponseSchema,
  ListElectionsResponseSchema,
} from "../../gen/ts/psephos/shard/v1/shard_pb.js";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { type JsonObject, parseEvent } from "../evidence/event.ts";
import { parseSegmentKey, votesPrefix } from "../evidence/layout.ts";
import { decodeSegment } from "../evidence/segment.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { VerificationReport } from "../verify/report.ts";
import { verifyEvidence } from "../verify/verify-evidence.ts";
import { AuditFixture, silentLogger } from "./audit-fixture.ts";
import { Auditor, type AuditorOptions, type RecordSource } from "./auditor.ts";
import { EventKey } from "./event-key.ts";
import { auditMetrics, probeMetrics } from "./metrics.ts";
import { type CheckResult, ProbeWatch } from "./probe-watch.ts";
import type { RecordMessage } from "./record-message.ts";
import type { ShardRouter } from "./shard-watch.ts";

const unavailable = async () => {
  throw new ServiceError("unavailable", "away");
};

/** A stream of which it matters only whether somebody consumes it. */
class TestSource implements RecordSource<RecordMessage> {
  consumers = 0;

  async consume(_durable: string, _handler: unknown, signal: AbortSignal): Promise<void> {
    this.consumers++;
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    this.consumers--;
  }

  async park(): Promise<void> {}
}

const resources: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of resources.splice(0).reverse()) await each[Symbol.asyncDispose]();
});

/** An Auditor of one election, in which nobody votes. */
async function start({ standby, ...options }: { standby: boolean } & Partial<AuditorOptions<RecordMessage>>) {
  const fixture = await AuditFixture.create();
  resources.push(fixture);
  if (standby) fixture.heads.lost.abort();
  const { electionId, manifestBytes: manifest } = fixture.election;
  const state = { closed: false };
  const router: Partial<ShardRouter> = {
    listElections: async () => create(ListElectionsResponseSchema, { elections: [{ electionId, manifest }] }),
    heads: async () =>
      create(HeadsResponseSchema, {
        heads: fixture.shards.heads.map(({ shard, hash }) => ({ shard, hash, closed: state.closed })),
        state: state.closed ? ElectionState.CLOSED : ElectionState.OPEN,
      }),
    confirmSealed: unavailable,
  };
  const source = new TestSource();
  const auditor = new Auditor({
    source,
    stores: fixture.stores,
    router: router as ShardRouter, // Without votes nobody calls another method.
    publisher: { submitHead: unavailable },
    limits: { headIntervalMs: 20, pollIntervalMs: 20, bufferRecords: 10_000 },
    metrics: auditMetrics(new Metrics({ service: "test" })),
    clock: systemClock,
    logger: silentLogger,
    ...options,
  });
  resources.push(auditor);
  const failures: unknown[] = [];
  auditor.start((error) => failures.push(error));
  return { fixture, auditor, source, state, failures };
}

const eventually = <T>(ask: () => T) => expect.poll(ask, { timeout: 5_000 });

test("the stream is consumed while an election is sealed here, and not by a standby", async () => {
  const { fixture, auditor, source, state, failures } = await start({ standby: true });
  const sealer = await auditor.sealerOf(fixture.election.electionId);
  await systemClock.sleep(100);
  expect(sealer?.status.current.state).toBe("standby");
  expect(source.consumers).toBe(0);

  fixture.heads.renew();
  await eventually(() => source.consumers).toBe(1);
  fixture.heads.lost.abort();
  await eventually(() => source.consumers).toBe(0);
  fixture.heads.renew();
  await eventually(() => source.consumers).toBe(1);

  state.closed = true;
  await eventually(() => sealer?.status.current.state).toBe("complete");
  await eventually(() => source.consumers).toBe(0);
  expect(failures).toEqual([]);
});

test("a consumer that fails is reported", async () => {
  const { source, failures } = await start({ standby: false });
  const failure = new Error("unexpected");
  source.consume = () => Promise.reject(failure);
  await eventually(() => failures).toEqual([failure]);
});

test("nothing is sealed until the evidence store passes its probe, and the log tells of both", async () => {
  const store: { verdict: CheckResult["verdict"] } = { verdict: "broken" };
  const probe = new ProbeWatch({
    probe: {
      run: async () => ({
        results: [{ check: "delete-version", verdict: store.verdict, observed: "the version is gone" }],
        report: { verdict: store.verdict },
      }),
    },
    intervalMs: 20,
    minimum: ["delete-version"],
    metrics: probeMetrics(new Metrics({ service: "test" })),
    clock: systemClock,
    logger: silentLogger,
  });
  const eventKey = new EventKey(new Uint8Array(32).fill(7));
  const { fixture, auditor, source, failures } = await start({ standby: false, probe, eventKey });
  const { electionId, manifest } = fixture.election;
  const sealer = await auditor.sealerOf(electionId);
  await eventually(() => sealer?.status.current).toMatchObject({
    state: "paused",
    pausedBecause: expect.stringContaining("delete-version"),
  });
  // It takes in what arrives.
  await eventually(() => source.consumers).toBe(1);
  await systemClock.sleep(100);
  expect(fixture.heads.heads.get(electionId)?.treeSize ?? 0).toBe(0);

  store.verdict = "held";
  await eventually(() => sealer?.status.current.state).toBe("sealing");
  await eventually(() => sealer?.status.current.head?.treeSize ?? 0).toBeGreaterThan(3);
  expect(failures).toEqual([]);
  await auditor[Symbol.asyncDispose]();

  const report = new VerificationReport();
  const key = eventKey.verifierKey(manifest);
  const verified = await verifyEvidence({ store: fixture.evidence, electionId, report, eventKey: key });
  expect(report.problems).toEqual([]);
  expect(report.checked.events).toBe((verified?.treeSize ?? 0) - 1);
  const told = await wormProbes(fixture);
  expect(told).toContainEqual({ minimum: ["delete-version"], passed: false, report: { verdict: "broken" } });
  expect(told.at(-1)).toEqual({ minimum: ["delete-version"], passed: true, report: { verdict: "held" } });
});

/** A probe that has found something already, and looks no more. */
function watchWithNews(details: JsonObject): ProbeWatch {
  const probe = new ProbeWatch({
    probe: { run: async () => ({ results: [], report: {} }) },
    intervalMs: 3_600_000,
    minimum: [],
    metrics: probeMetrics(new Metrics({ service: "test" })),
    clock: { ...systemClock, sleep: (_, signal) => systemClock.sleep(60_000, signal) },
    logger: silentLogger,
  });
  probe.run = async () => {
    probe.objection.publish(undefined);
    probe.news.publish(details);
  };
  return probe;
}

test("when an election is sealed here again, the log is told the newest again, and once", async () => {
  const probe = watchWithNews({ run: 1 });
  const eventKey = new EventKey(new Uint8Array(32).fill(7));
  const { fixture } = await start({ standby: false, probe, eventKey });
  const told = () => expect.poll(() => wormProbes(fixture), { timeout: 5_000 });
  await told().toEqual([{ run: 1 }]);
  fixture.heads.lost.abort();
  await systemClock.sleep(100);
  probe.news.publish({ run: 2 });
  probe.news.publish({ run: 3 });
  await systemClock.sleep(100);
  expect(await wormProbes(fixture)).toEqual([{ run: 1 }]);
  fixture.heads.renew();
  await told().toEqual([{ run: 1 }, { run: 3 }]);
  fixture.heads.lost.abort();
  await systemClock.sleep(100);
  fixture.heads.renew();
  await told().toEqual([{ run: 1 }, { run: 3 }, { run: 3 }]);
});

test("a report that does not fit an event is logged, and the next is told", async () => {
  const errors: unknown[] = [];
  const logger: Logger = { ...silentLogger, error: (fields) => errors.push(fields), child: () => logger };
  const probe = watchWithNews({ run: "x".repeat(20_000) });
  const eventKey = new EventKey(new Uint8Array(32).fill(7));
  const { fixture, failures } = await start({ standby: false, probe, eventKey, logger });
  await eventually(() => errors.length).toBe(1);
  probe.news.publish({ run: 2 });
  await expect.poll(() => wormProbes(fixture), { timeout: 5_000 }).toEqual([{ run: 2 }]);
  expect(failures).toEqual([]);
});

/** The details of the log's events about probes. */
async function wormProbes({ evidence, election: { electionId } }: AuditFixture): Promise<unknown[]> {
  const details: unknown[] = [];
  for await (const name of evidence.list(votesPrefix(electionId))) {
    const object = parseSegmentKey(name) && (await evidence.get(name));
    for (const entry of object ? decodeSegment(object).entries : []) {
      if (entry.type === "event") details.push(parseEvent(entry.note).details);
    }
  }
  return details;
}

// Two AuditServices: one seals an election, the other waits to go on where it is left.
import { join } from "node:path";
import type { Client } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LISTEN_ADDRESS } from "../../deploy/local/ports.ts";
import { ServiceProcess } from "../../deploy/local/service-process.ts";
import { AuditService, SealingState } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import { grpcTls } from "../config/fields.ts";
import { ServiceError } from "../core/errors.ts";
import { waitForHealthy } from "../grpc/health-client.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
const resources = new AsyncDisposableStack();

/** An AuditService and a client of it. */
interface Replica {
  readonly process: ServiceProcess;
  readonly client: Client<typeof AuditService>;
}

beforeAll(async () => {
  stack = resources.use(await TestStack.start());
});
afterAll(() => resources.disposeAsync());

/** Starts another AuditService on the same database, stream, evidence and tiles. */
async function startReplica(): Promise<Replica> {
  const { servers, services, folders } = stack.stack;
  const address = `${LISTEN_ADDRESS}:${await servers.ports.port("audit-service-2")}`;
  const metrics = `${LISTEN_ADDRESS}:${await servers.ports.port("audit-service-2-metrics")}`;
  const process = new ServiceProcess({
    name: "audit-service",
    folder: join(folders.evidence, "..", "replica"),
    config: { ...services["audit-service"].config, listen: address, metrics_listen: metrics },
    probe: async (signal) => {
      await waitForHealthy({
        address,
        tls: grpcTls(await stack.stack.identity("operator/test")),
        trustDomain: stack.stack.trustDomain,
        expectedServer: "service/audit-service",
        timeoutMs: 1_000,
        signal,
      });
      return true;
    },
  });
  await resources.use(process).start();
  return replicaOf(process, address);
}

async function replicaOf(process: ServiceProcess, address: string): Promise<Replica> {
  return { process, client: await stack.client(AuditService, "operator/test", address) };
}

/** Undefined while it is down. */
async function stateOf({ client }: Replica, election: TestElection): Promise<SealingState | undefined> {
  try {
    return (await client.getHead({ electionId: election.id })).head?.state;
  } catch (error) {
    if (error instanceof ServiceError && error.kind === "unavailable") return undefined;
    throw error;
  }
}

test("the active one is killed, then the other: each time the one that is left goes on: one history, every vote once", async () => {
  const { services, addresses } = stack.stack;
  const replicas = [
    await replicaOf(services["audit-service"], addresses["audit-service"]),
    await startReplica(),
  ];
  const election = await stack.createElection("standby");
  const casting = await election.startCasting();

  for (let round = 0; round < 2; round++) {
    await casting.acknowledged(200);
    const active = await findActive(replicas, election);
    await active.process.kill();
    const [other] = replicas.filter((replica) => replica !== active);
    if (other === undefined) throw new Error("there is no other");
    await until("the other one seals", async () => (await stateOf(other, election)) === SealingState.SEALING);
    const { size } = election.ledger;
    await until("what was cast since is public", async () => (await election.publishedSize()) > size);
    await active.process.start();
  }

  await casting.stop();
  await election.drain();
  await election.expectExactly();
});

/** The one that seals the election. The other stands by. */
async function findActive(replicas: readonly Replica[], election: TestElection): Promise<Replica> {
  let states: (SealingState | undefined)[] = [];
  await until("one seals and one stands by", async () => {
    states = await Promise.all(replicas.map((replica) => stateOf(replica, election)));
    return states.includes(SealingState.SEALING) && !states.includes(undefined);
  });
  expect(states.toSorted()).toEqual([SealingState.STANDBY, SealingState.SEALING].toSorted());
  const active = replicas[states.indexOf(SealingState.SEALING)];
  if (active === undefined) throw new Error("nobody seals");
  return active;
}

// Three servers and three replicas, as in production: the stream goes on while one of them is down.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "nats";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { DevelopmentCa, type TlsFiles } from "../../deploy/local/dev-ca.ts";
import { findNatsServer } from "../../deploy/local/nats-binary.ts";
import { PortBook } from "../../deploy/local/ports.ts";
import { type Command, ServerProcess } from "../../deploy/local/process.ts";
import { decodeUtf8, utf8 } from "../core/bytes.ts";
import { ServiceError } from "../core/errors.ts";
import { electionId } from "../core/ids.ts";
import { createLogger } from "../telemetry/logger.ts";
import { RecordStream } from "./record-stream.ts";
import { ServerAddress } from "./server-address.ts";

const NODES = ["a", "b", "c"] as const;
type NodeName = (typeof NODES)[number];
const vermont = electionId("vermont-2020");
const never = new AbortController().signal;

let folder: string;
let program: string;
let ca: DevelopmentCa;
let ports: PortBook;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "psephos-cluster-"));
  ({ program } = await findNatsServer());
  ca = await DevelopmentCa.open(join(folder, "ca"));
  ports = await PortBook.open(join(folder, "ports.json"));
}, 600_000);

afterAll(async () => {
  ports[Symbol.dispose]();
  await rm(folder, { recursive: true, force: true });
});

class ClusterNode extends ServerProcess {
  readonly url: string;
  readonly #config: { readonly file: string; readonly text: string };

  constructor(
    name: NodeName,
    tls: TlsFiles,
    clientPorts: Record<NodeName, number>,
    routePorts: Record<NodeName, number>,
  ) {
    super({
      name: `nats ${name}`,
      logFile: join(folder, `${name}.log`),
      stopSignal: "SIGTERM",
      stopTimeoutMs: 5_000,
      orphanSignal: "KILL",
    });
    this.url = `tls://localhost:${clientPorts[name]}`;
    const config = {
      server_name: name,
      host: "127.0.0.1",
      port: clientPorts[name],
      jetstream: { store_dir: join(folder, name) },
      tls: { ca_file: tls.ca, cert_file: tls.cert, key_file: tls.key, verify: true },
      cluster: {
        name: "psephos",
        host: "127.0.0.1",
        port: routePorts[name],
        routes: NODES.map((node) => `nats-route://127.0.0.1:${routePorts[node]}`),
      },
    };
    this.#config = { file: join(folder, `${name}.conf`), text: JSON.stringify(config) };
  }

  protected override async prepare(): Promise<Command> {
    await mkdir(folder, { recursive: true });
    await writeFile(this.#config.file, this.#config.text);
    return { file: program, args: ["--config", this.#config.file] };
  }

  protected override async isReady(): Promise<boolean> {
    await new ServerAddress(this.url).probe(1_000, never);
    return true;
  }
}

async function portsOf(what: string): Promise<Record<NodeName, number>> {
  const [a, b, c] = await Promise.all(NODES.map((node) => ports.port(`${what}-${node}`)));
  return { a: a ?? 0, b: b ?? 0, c: c ?? 0 };
}

test("three replicas: killing the server that leads the stream costs nothing and stops nobody", {
  timeout: 90_000,
}, async () => {
  await using stack = new AsyncDisposableStack();
  const [clientPorts, routePorts] = [await portsOf("client"), await portsOf("route")];
  const tls = await ca.identity("service/nats");
  const nodes = NODES.map((name) => stack.use(new ClusterNode(name, tls, clientPorts, routePorts)));
  await Promise.all(nodes.map((node) => node.start()));

  const files = await ca.identity("service/shard-router");
  const clientTls = { caFile: files.ca, certFile: files.cert, keyFile: files.key };
  const stream = stack.use(
    await RecordStream.connect({
      servers: nodes.map((node) => node.url),
      tls: { ...clientTls, serverId: ca.spiffeId("service/nats") },
      name: "test",
      replicas: 3,
      timeoutMs: 2_000,
      logger: createLogger({ service: "test", level: "silent" }),
    }),
  );
  // A new cluster first has to agree on who leads it.
  await vi.waitFor(() => stream.ensureStreams(), { timeout: 30_000, interval: 200 });

  const got = new Set<string>();
  const stop = new AbortController();
  const consuming = stream.consume(
    "audit",
    async (message) => {
      got.add(decodeUtf8(message.data));
      message.ack();
    },
    stop.signal,
  );
  const publish = async (text: string) => {
    for (;;) {
      try {
        return await stream.publish(vermont, utf8(text));
      } catch (error) {
        expect(error).toBeInstanceOf(ServiceError);
        await sleep(50);
      }
    }
  };
  await Promise.all(Array.from({ length: 50 }, (_, i) => publish(`before ${i}`)));

  const connection = await connect({ servers: nodes[0]?.url ?? "", tls: clientTls });
  const info = await (await connection.jetstreamManager()).streams.info("PSEPHOS_RECORDS");
  await connection.close();
  expect(info.config.num_replicas).toBe(3);
  const leader = nodes.find((node) => node.name === `nats ${info.cluster?.leader}`);
  expect(leader).toBeDefined();
  await leader?.kill();
  await Promise.all(Array.from({ length: 50 }, (_, i) => publish(`after ${i}`)));
  await leader?.start();

  await vi.waitFor(() => expect(got.size).toBe(100), { timeout: 30_000, interval: 50 });
  stop.abort();
  await consuming;
});

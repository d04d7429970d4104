import { Channel, Metadata, type StatusObject, status } from "@grpc/grpc-js";
import { service as health } from "grpc-health-check";
import { systemClock } from "../core/clock.ts";
import { ServiceError } from "../core/errors.ts";
import { codeName } from "./call-metrics.ts";
import { channelCredentials, readTls, type TlsFiles } from "./tls.ts";

export interface HealthOptions {
  readonly address: string;
  readonly tls: TlsFiles;
  readonly trustDomain: string;
  readonly expectedServer: `service/${string}`;
  /** A service's full name; the whole process unless given. */
  readonly service?: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

const PAUSE_MS = 50;

/** Resolves when the server says SERVING; throws DEADLINE_EXCEEDED with its last answer when it does not in time. */
export async function waitForHealthy(options: HealthOptions): Promise<void> {
  const { address, trustDomain, expectedServer, signal } = options;
  const credentials = channelCredentials(readTls(options.tls), { trustDomain, service: expectedServer });
  const channel = new Channel(address, credentials, {
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.ssl_target_name_override": expectedServer.slice("service/".length),
    // The server is expected any moment.
    "grpc.initial_reconnect_backoff_ms": PAUSE_MS,
    "grpc.max_reconnect_backoff_ms": 4 * PAUSE_MS,
  });
  const deadline = Date.now() + options.timeoutMs;
  let said = "it has not answered";
  try {
    for (;;) {
      const answer = await check(channel, options.service ?? "", deadline);
      if (answer === "SERVING") return;
      signal?.throwIfAborted();
      if (Date.now() >= deadline) {
        throw new ServiceError(
          "deadline-exceeded",
          `${expectedServer} at ${address} is not healthy: ${said}`,
        );
      }
      said = answer;
      await systemClock.sleep(PAUSE_MS, signal);
      signal?.throwIfAborted();
    }
  } finally {
    channel.close();
  }
}

/** The serving status, or the failure of the call in words. */
function check(channel: Channel, service: string, deadline: number): Promise<string> {
  const method = health.Check;
  if (method === undefined) throw new Error("grpc-health-check has no Check");
  return new Promise((resolve) => {
    const call = channel.createCall(method.path, deadline, null, null, null);
    let answer = "no answer";
    call.start(new Metadata(), {
      onReceiveMetadata: () => {},
      onReceiveMessage: (frame: Buffer) => {
        const response = method.responseDeserialize(frame);
        if ("status" in response) answer = String(response.status);
        call.startRead();
      },
      onReceiveStatus: (result: StatusObject) => {
        resolve(result.code === status.OK ? answer : `${codeName(result.code)}: ${result.details}`);
      },
    });
    call.sendMessageWithContext({}, method.requestSerialize({ service }));
    call.halfClose();
    call.startRead();
  });
}

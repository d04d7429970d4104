import { status } from "@grpc/grpc-js";
import type { Histogram, Metrics } from "../telemetry/metrics.ts";

/** Counts and times calls. A process has one, which its server and its transports share. */
export class CallMetrics {
  readonly #seconds: Histogram<"side" | "method" | "code">;

  constructor(options: { readonly metrics: Metrics }) {
    this.#seconds = options.metrics.histogram({
      name: "psephos_grpc_call_seconds",
      help: "How long gRPC calls took, by side (server or client), method and status code.",
      labels: ["side", "method", "code"],
    });
  }

  /** `method` is `package.Service/Method`, of a method that exists: callers cannot make up label values. */
  ended(side: "server" | "client", method: string, code: number, seconds: number): void {
    this.#seconds.observe({ side, method, code: codeName(code) }, seconds);
  }
}

/** `NOT_FOUND` of 5. */
export function codeName(code: number): string {
  return status[code] ?? "UNKNOWN";
}

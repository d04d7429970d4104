import type { DescMethod } from "@bufbuild/protobuf";
import type { ServiceConfig } from "@grpc/grpc-js";

/**
 * gRPC's service config (grpc/service_config.md) as JSON: calls go to all addresses in turn, and idempotent methods
 * are tried again while the server is UNAVAILABLE, which is over in a second or two when one of several replicas stops.
 */
export function serviceConfig(idempotent: readonly DescMethod[]): string {
  const config: ServiceConfig = {
    loadBalancingConfig: [{ round_robin: {} }],
    methodConfig:
      idempotent.length === 0
        ? []
        : [
            {
              name: idempotent.map((method) => ({ service: method.parent.typeName, method: method.name })),
              retryPolicy: {
                maxAttempts: 4,
                initialBackoff: "0.1s",
                maxBackoff: "2s",
                backoffMultiplier: 3,
                retryableStatusCodes: ["UNAVAILABLE"],
              },
            },
          ],
    // When half of the calls fail, retrying them is part of the trouble (gRFC A6).
    retryThrottling: { maxTokens: 100, tokenRatio: 0.1 },
  };
  return JSON.stringify(config);
}

// The HTTP edge of the same services: mutual TLS, the same callers, REST for votes and Connect for the rest.
import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { ElectionService } from "../../gen/ts/psephos/vote/v1/election_pb.js";
import { VoteService } from "../../gen/ts/psephos/vote/v1/vote_pb.js";
import { grpcTls } from "../../internal/config/fields.ts";
import { ServiceError } from "../../internal/core/errors.ts";
import { connectErrors } from "../../internal/grpc/connect-errors.ts";
import {
  type CallerPattern,
  type CallerPolicy,
  identityOfCertificate,
  mayCall,
} from "../../internal/grpc/identity.ts";
import { readTls } from "../../internal/grpc/tls.ts";
import { ConnectEdge } from "../../internal/http/connect-edge.ts";
import { type Caller, HttpsEdge } from "../../internal/http/https-edge.ts";
import type { Logger } from "../../internal/telemetry/logger.ts";
import { electionCallers, voteCallers } from "../../internal/vote/callers.ts";
import type { VoteCaster } from "../../internal/vote/cast.ts";
import type { VoteServiceConfig } from "../../internal/vote/config.ts";
import { castOverRest, MAX_VOTE_BYTES, VOTES_PATH } from "../../internal/vote/rest.ts";

export interface HttpEdgeOptions {
  readonly config: Pick<VoteServiceConfig, "http_listen" | "tls" | "trust_domain" | "limits">;
  readonly voteService: ServiceImpl<typeof VoteService>;
  readonly electionService: ServiceImpl<typeof ElectionService>;
  readonly caster: VoteCaster;
  readonly logger: Logger;
}

/** A manifest of 1 MiB as base64 in JSON, and some. */
const MAX_REQUEST_BYTES = 2 * 1024 * 1024;

export async function listenHttp(options: HttpEdgeOptions): Promise<HttpsEdge> {
  const { config, voteService, electionService, caster, logger } = options;
  const procedures = new ConnectEdge({
    routes: (router) => {
      router.service(VoteService, voteService);
      router.service(ElectionService, electionService);
    },
    maxBytes: MAX_REQUEST_BYTES,
    maxTimeoutMs: 60_000,
    errors: connectErrors({ logger }),
  });
  return HttpsEdge.listen({
    ...config.http_listen,
    tls: readTls(grpcTls(config.tls)),
    callerOf: callersOf(config.trust_domain),
    endpoints: [{ path: VOTES_PATH, maxBytes: MAX_VOTE_BYTES, handle: (call) => castOverRest(caster, call) }],
    procedures,
    maxConnections: config.limits.http_connections,
    logger,
  });
}

function callersOf(trustDomain: string): (certificate: { raw: Uint8Array }) => Caller {
  const allowed = new Map<string, readonly CallerPattern[]>([
    [VOTES_PATH, voteCallers.castVote],
    ...callersByPath(VoteService, voteCallers),
    ...callersByPath(ElectionService, electionCallers),
  ]);
  return ({ raw }) => {
    const peer = identify(raw, trustDomain);
    return (path) => {
      if (mayCall(peer, allowed.get(path) ?? [])) return;
      throw new ServiceError("permission-denied", `${peer.kind}/${peer.name} may not call this method`, {
        reason: "CALLER_NOT_ALLOWED",
      });
    };
  };
}

function identify(certificate: Uint8Array, trustDomain: string) {
  try {
    return identityOfCertificate(certificate, trustDomain);
  } catch (cause) {
    throw new ServiceError(
      "permission-denied",
      "the caller's certificate does not name a member of this mesh",
      {
        reason: "CALLER_NOT_IDENTIFIED",
        cause,
      },
    );
  }
}

function callersByPath<D extends DescService>(
  service: D,
  policy: CallerPolicy<D>,
): [path: string, callers: readonly CallerPattern[]][] {
  return service.methods.map((method) => [
    `/${service.typeName}/${method.name}`,
    policy[method.localName as keyof D["method"]], // methods are what the type's keys are made of
  ]);
}

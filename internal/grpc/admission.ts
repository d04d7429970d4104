import type { ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { ServiceError } from "../core/errors.ts";
import { type CallerPattern, identityOfCertificate, mayCall, type PeerIdentity } from "./identity.ts";

/** Knows the peers of a server's connections, and says which of them may call what. */
export class Admission {
  readonly #trustDomain: string;
  readonly #peers = new WeakMap<object, PeerIdentity>();

  constructor(options: { readonly trustDomain: string }) {
    this.#trustDomain = options.trustDomain;
  }

  /** The caller, if it is one of `callers`; throws PERMISSION_DENIED otherwise. */
  admit(call: ServerInterceptingCallInterface, callers: readonly CallerPattern[]): PeerIdentity {
    const peer = this.#peerOf(call);
    if (!mayCall(peer, callers)) {
      throw new ServiceError("permission-denied", `${peer.kind}/${peer.name} may not call this method`, {
        reason: "CALLER_NOT_ALLOWED",
      });
    }
    return peer;
  }

  /**
   * grpc-js parses the peer's certificate anew for each call that asks, which takes 0.1 ms and so as long as the rest
   * of a small call. A connection's peer does not change, so the answer is kept with the connection.
   */
  #peerOf(call: ServerInterceptingCallInterface): PeerIdentity {
    const connection = connectionOf(call);
    const known = connection && this.#peers.get(connection);
    if (known !== undefined) return known;
    // Undefined unless the TLS library has verified the certificate.
    const certificate = call.getAuthContext().sslPeerCertificate;
    if (certificate === undefined) throw unidentified("the caller has no verified certificate");
    try {
      const peer = identityOfCertificate(certificate.raw, this.#trustDomain);
      if (connection !== undefined) this.#peers.set(connection, peer);
      return peer;
    } catch (cause) {
      throw unidentified("the caller's certificate does not name a member of this mesh", cause);
    }
  }
}

/**
 * The HTTP/2 session of a call: its connection. grpc-js has no public name for it, hence the cast to what its call
 * object is made of (BaseServerInterceptingCall). Should that change, calls get slower and nothing else.
 */
export function connectionOf(call: ServerInterceptingCallInterface): object | undefined {
  const { stream } = call as { stream?: { session?: object } };
  return stream?.session;
}

function unidentified(message: string, cause?: unknown): ServiceError {
  return new ServiceError("permission-denied", message, { reason: "CALLER_NOT_IDENTIFIED", cause });
}

// Mutual TLS, 1.3 only, with the certificates read from files and read again when they change.
import { readFileSync } from "node:fs";
import type { SecureServerOptions } from "node:http2";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";
import { identityOfCertificate } from "./identity.ts";

/** Paths of PEM files: the trusted CAs, our certificate (and what links it to a CA), and its private key. */
export interface TlsFiles {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** How often files are looked at. Short against any certificate's life, long against the cost of reading three files. */
const RELOAD_MS = 60_000;

/** Half-open handshakes cost a socket each; Node would allow two minutes. */
const HANDSHAKE_MS = 10_000;

/** Reads the files; throws when one is missing, malformed, or the key is another certificate's. */
export function readTls(files: TlsFiles): SecureContextOptions {
  const options: SecureContextOptions = {
    ca: readFileSync(files.caFile),
    cert: readFileSync(files.certFile),
    key: readFileSync(files.keyFile),
    minVersion: "TLSv1.3",
  };
  createSecureContext(options);
  return options;
}

/** A server's certificate, and the demand that clients have one from a trusted CA. */
export class MeshServerCredentials extends ServerCredentials {
  constructor(options: SecureContextOptions) {
    const demands: SecureServerOptions = {
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
    };
    super(demands, options);
  }

  /** New connections use `options`; those that are open go on. */
  update(options: SecureContextOptions): void {
    this.updateSecureContextOptions(options);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/**
 * A client's certificate, and the demand that the server is `service` (such as `service/shard-router`) of the trust
 * domain. Addresses say where a peer is, not who it is, so host names are not compared.
 */
export function channelCredentials(
  options: SecureContextOptions,
  expected: { readonly trustDomain: string; readonly service: string },
): ChannelCredentials {
  return ChannelCredentials.createFromSecureContext(createSecureContext(options), {
    checkServerIdentity: (_host, certificate) => {
      try {
        const { kind, name } = identityOfCertificate(certificate.raw, expected.trustDomain);
        if (`${kind}/${name}` === expected.service) return undefined;
        return new Error(`expected ${expected.service}, found ${kind}/${name}`);
      } catch (cause) {
        return new Error("the server's certificate names no identity", { cause });
      }
    },
  });
}

export interface TlsWatchOptions {
  readonly onChange: (options: SecureContextOptions) => void;
  /** The files do not make sense, perhaps for as long as they are being replaced. What was read before stays in use. */
  readonly onError: (error: unknown) => void;
  readonly intervalMs?: number;
}

/** Looks at the files from time to time. Does not keep the process alive. */
export function watchTls(files: TlsFiles, options: TlsWatchOptions): Disposable {
  let seen = contents(files);
  const timer = setInterval(() => {
    try {
      const now = contents(files);
      if (now === seen) return;
      options.onChange(readTls(files));
      seen = now;
    } catch (error) {
      options.onError(error);
    }
  }, options.intervalMs ?? RELOAD_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function contents(files: TlsFiles): string {
  return [files.caFile, files.certFile, files.keyFile].map((file) => readFileSync(file, "latin1")).join("\n");
}

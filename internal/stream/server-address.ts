import { connect, isIP } from "node:net";
import { type ConnectionOptions, checkServerIdentity } from "node:tls";

/** Files in PEM. They are read at each connection, so that a renewed certificate needs no restart. */
export interface StreamTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** The SPIFFE id the server must have, such as `spiffe://psephos.local/service/nats`. Unchecked if not given. */
  readonly serverId?: string | undefined;
}

/** Where a nats-server listens. */
export class ServerAddress {
  readonly hostname: string;
  readonly port: number;

  /** From `tls://host:port`. */
  constructor(url: string) {
    const match = /^(?:tls|nats):\/\/([^/?#@]+):(\d+)\/?$/.exec(url);
    const [, host, port] = match ?? [];
    if (
      host === undefined ||
      !URL.canParse(`http://${host}`) ||
      !(Number(port) >= 1 && Number(port) <= 65_535)
    ) {
      throw new RangeError(`a nats server is tls://host:port, not ${JSON.stringify(url)}`);
    }
    this.hostname = host.replace(/^\[(.*)\]$/, "$1");
    this.port = Number(port);
  }

  toString(): string {
    return `tls://${isIP(this.hostname) === 6 ? `[${this.hostname}]` : this.hostname}:${this.port}`;
  }

  /**
   * Resolves when somebody speaks there: a nats-server does, before TLS (NATS client protocol, INFO). To be asked after
   * a failure: the nats client leaves a socket open for each attempt that times out, and all do while a server hangs.
   */
  probe(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: this.hostname, port: this.port, signal });
      const timer = setTimeout(() => socket.destroy(new Error("nobody speaks")), timeoutMs);
      socket.once("data", () => {
        resolve();
        socket.destroy();
      });
      socket.once("error", reject);
      socket.once("close", () => {
        clearTimeout(timer);
        reject(new Error("connection closed"));
      });
    });
  }

  /**
   * What the nats client hands to tls.connect. Its own way to name the host gives that up for an IP address, and then
   * Node checks the certificate against "localhost".
   */
  tlsOptions(tls: StreamTls): StreamTls & Pick<ConnectionOptions, "servername" | "checkServerIdentity"> {
    return {
      ...tls,
      ...(isIP(this.hostname) === 0 ? { servername: this.hostname } : {}), // RFC 6066 section 3: never an address
      checkServerIdentity: (_host, certificate) =>
        checkServerIdentity(this.hostname, certificate) ?? checkUri(certificate.subjectaltname, tls.serverId),
    };
  }
}

/** Exactly one URI, and the one expected. A quote means that a name holds a separator: nothing we issue does. */
function checkUri(names: string | undefined, expected: string | undefined): Error | undefined {
  if (expected === undefined) return undefined;
  const uris = names?.includes('"') ? [] : names?.split(", ").filter((name) => name.startsWith("URI:"));
  if (uris?.length === 1 && uris[0] === `URI:${expected}`) return undefined;
  return new Error(`the server's certificate is not that of ${expected}`);
}

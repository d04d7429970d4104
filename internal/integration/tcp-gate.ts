import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** `requests` go to the server, `answers` come back. */
export type Way = "requests" | "answers";

/**
 * TCP in front of a server, either way of which can be shut. What the bytes mean, TLS keeps to the two ends: a shut way
 * keeps them for good, as a network does that fails just then.
 */
export class TcpGate implements AsyncDisposable {
  /** What is kept, in bytes. */
  readonly kept: Record<Way, number> = { requests: 0, answers: 0 };
  readonly #shut = new Set<Way>();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(target: { readonly host: string; readonly port: number }): Promise<TcpGate> {
    const server = createServer();
    const gate = new TcpGate(server);
    server.on("connection", (near) => {
      const far = connect(target);
      gate.#relay("requests", near, far);
      gate.#relay("answers", far, near);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return gate;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new TypeError("not a TCP server");
    return address.port;
  }

  shut(way: Way): void {
    this.#shut.add(way);
  }

  /** Opens both ways to new connections. Those whose bytes were kept are broken, and their bytes are lost. */
  open(): void {
    if (this.#shut.size > 0) for (const socket of this.#sockets) socket.destroy();
    this.#shut.clear();
    this.kept.requests = 0;
    this.kept.answers = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #relay(way: Way, from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("data", (bytes) => {
      if (this.#shut.has(way)) this.kept[way] += bytes.length;
      else to.write(bytes);
    });
    from.on("error", () => {}); // Its end follows, and is all that matters.
    from.once("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}

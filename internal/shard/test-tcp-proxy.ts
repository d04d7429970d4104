import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Stands between a client and a server, and breaks their connections when told to. */
export class TestTcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #pairs = new Set<readonly [client: Socket, server: Socket]>();
  /** New connections are closed at once. */
  refusing = false;
  #swallowing = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(port: number): Promise<TestTcpProxy> {
    const server = createServer();
    const proxy = new TestTcpProxy(server);
    server.on("connection", (client) => proxy.#connect(client, port));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  get port(): number {
    // A listening TCP server's address is an AddressInfo; only pipes have a string.
    return (this.#server.address() as AddressInfo).port;
  }

  /** What clients send still arrives, what servers answer does not. */
  swallowAnswers(): void {
    this.#swallowing = true;
  }

  /** Ends all connections. New ones work. */
  cut(): void {
    this.#swallowing = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.cut();
  }

  #connect(client: Socket, port: number): void {
    if (this.refusing) {
      client.destroy();
      return;
    }
    const server = connect(port, "127.0.0.1");
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    client.on("data", (chunk) => server.write(chunk));
    server.on("data", (chunk) => {
      if (!this.#swallowing) client.write(chunk);
    });
    for (const socket of pair) {
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
  }
}

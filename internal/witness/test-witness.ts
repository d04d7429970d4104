// For tests: a witness of ours, over HTTP and a folder that goes away with the test.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "../core/clock.ts";
import { DurableFiles } from "../publisher/durable-files.ts";
import { createLogger } from "../telemetry/logger.ts";
import { CosignatureSigner } from "../tlog/cosignature.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { Witness } from "./witness.ts";
import { WitnessHttpServer } from "./witness-http.ts";
import { WitnessState } from "./witness-state.ts";

export interface TestWitnessOptions {
  readonly logs: readonly string[];
  readonly name?: string;
  readonly seed?: number;
  readonly clock?: Clock;
}

export class TestWitness implements AsyncDisposable {
  readonly folder: string;
  readonly signer: CosignatureSigner;
  readonly logged: { level: string; message: string }[] = [];
  readonly #options: TestWitnessOptions;
  #port = 0;
  #running = new AsyncDisposableStack();

  private constructor(folder: string, options: TestWitnessOptions) {
    this.folder = folder;
    this.#options = options;
    const seed = new Uint8Array(32).fill(options.seed ?? 7);
    this.signer = CosignatureSigner.fromSeed(options.name ?? "witness.test/w", seed);
  }

  static async start(options: TestWitnessOptions): Promise<TestWitness> {
    const witness = new TestWitness(await mkdtemp(join(tmpdir(), "psephos-witness-")), options);
    await witness.start();
    return witness;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get verifierKey(): string {
    return this.signer.verifierKey;
  }

  /** Starts it, or starts it again at the same address. */
  async start(): Promise<void> {
    const running = new AsyncDisposableStack();
    const files = running.use(await DurableFiles.open({ root: join(this.folder, "state") }));
    const logger = createLogger({
      service: "witness",
      level: "debug",
      destination: { write: (line) => void this.logged.push(JSON.parse(line)) },
    });
    const witness = new Witness({
      signer: this.signer,
      logs: this.#options.logs.map((key) => NoteVerifier.parse(key)),
      state: new WitnessState({ files }),
      clock: this.#options.clock ?? systemClock,
      logger,
    });
    const server = running.use(
      await WitnessHttpServer.listen({ witness, host: "127.0.0.1", port: this.#port, logger }),
    );
    this.#port = Number(new URL(server.url).port);
    this.#running = running;
  }

  async stop(): Promise<void> {
    await this.#running.disposeAsync();
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true });
  }
}

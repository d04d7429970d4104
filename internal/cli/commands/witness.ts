import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { Address } from "../../config/fields.ts";
import { readSecretFile } from "../../config/secret-file.ts";
import { aborted } from "../../core/aborted.ts";
import { toBase64 } from "../../core/bytes.ts";
import { systemClock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { createLogger } from "../../telemetry/logger.ts";
import { CosignatureSigner } from "../../tlog/cosignature.ts";
import { ED25519_KEY_SIZE } from "../../tlog/ed25519.ts";
import { ALGORITHM_ED25519, isKeyName, NoteVerifier } from "../../tlog/note-verifier.ts";
import { Witness } from "../../witness/witness.ts";
import { WitnessHttpServer } from "../../witness/witness-http.ts";
import { WitnessState } from "../../witness/witness-state.ts";
import { parseAddress } from "../arguments.ts";
import type { Cli } from "../cli.ts";
import type { CliContext } from "../context.ts";
import { ExitCode, UsageError } from "../exit-code.ts";
import { openStateFolder } from "../state-folder.ts";
import type { Terminal } from "../terminal.ts";

interface KeyOptions {
  readonly name: string;
  readonly key: string;
}

interface RunOptions extends KeyOptions {
  readonly listen: Address;
  readonly state: string;
  readonly log: readonly NoteVerifier[];
}

export function witnessCommand(program: Command, { run, terminal, stopSignal }: Cli): void {
  const witness = program
    .command("witness")
    .description(
      "cosign what logs publish, as long as each only grows (observers): a C2SP witness over plain HTTP, for a proxy to " +
        "put TLS in front",
    );
  const serve = witness
    .command("run", { isDefault: true })
    .description("serve until it is stopped")
    .requiredOption("--listen <address>", "host:port for logs to submit checkpoints to", parseAddress)
    .requiredOption("--state <folder>", "its memory: never share it, never restore it from a backup")
    .requiredOption(
      "--log <key>",
      "the verifier key of a log that it witnesses; repeat it for more",
      collectLog,
    )
    .addHelpText("after", EXAMPLES)
    .action((options: RunOptions) =>
      run(async (context) => serveWitness(context, options, terminal, stopSignal())),
    );
  const keygen = witness
    .command("keygen")
    .description("make a witness's key, and print the verifier key that goes into policies")
    .action((options: KeyOptions) => run((context) => generateKey(context, options)));
  for (const command of [serve, keygen]) {
    command
      .requiredOption("--name <name>", "the name it cosigns under, a URL without its scheme", parseKeyName)
      .requiredOption("--key <file>", "its Ed25519 seed in base64, mode 0600");
  }
}

const EXAMPLES = `
Examples:
  psephos witness keygen --name witness.example.org/w1 --key witness.key
  psephos witness --name witness.example.org/w1 --key witness.key --listen 127.0.0.1:7380 --state witness-state \\
    --log 'log.example.org/town+8b2e4f7a+AWh0dHA…'`;

async function generateKey(context: CliContext, { name, key }: KeyOptions): Promise<ExitCode> {
  const seed = randomBytes(ED25519_KEY_SIZE);
  try {
    // Never over another: whoever loses a witness's key has to have it replaced in every policy.
    await writeFile(key, `${toBase64(seed)}\n`, { flag: "wx", mode: 0o600, flush: true });
  } catch (error) {
    throw new UsageError(`no key was made: ${messageOf(error)}`, { cause: error });
  }
  const { verifierKey } = CosignatureSigner.fromSeed(name, seed);
  return context.show({ witness_key: verifierKey, key_file: key }, () => verifierKey);
}

async function serveWitness(
  context: CliContext,
  options: RunOptions,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<ExitCode> {
  const signer = CosignatureSigner.fromSeed(options.name, await readKey(options.key));
  const logger = createLogger({ service: "witness", level: "info" });
  await using resources = new AsyncDisposableStack();
  const files = resources.use(await openStateFolder(options.state));
  const witness = new Witness({
    signer,
    logs: options.log,
    state: new WitnessState({ files }),
    clock: systemClock,
    logger,
  });
  // What it cannot read now it could not extend later.
  const logs = await witness.cosigned();
  const server = resources.use(await WitnessHttpServer.listen({ witness, ...options.listen, logger }));
  context.show({ witness_key: signer.verifierKey, url: server.url }, () => signer.verifierKey);
  terminal.say(`witnessing ${logs.map(({ origin }) => origin).join(", ")} at ${server.url}`);
  await aborted(signal);
  return ExitCode.ok;
}

async function readKey(path: string): Promise<Uint8Array> {
  try {
    return await readSecretFile(path);
  } catch (error) {
    throw new UsageError(`${messageOf(error)} ("psephos witness keygen" makes a key)`, { cause: error });
  }
}

function parseKeyName(text: string): string {
  if (isKeyName(text)) return text;
  throw new InvalidArgumentError("it is a name without spaces and plus signs.");
}

function collectLog(text: string, logs: readonly NoteVerifier[] = []): NoteVerifier[] {
  let log: NoteVerifier;
  try {
    log = NoteVerifier.parse(text);
  } catch (error) {
    throw new InvalidArgumentError(`${messageOf(error)}.`);
  }
  if (log.algorithm !== ALGORITHM_ED25519)
    throw new InvalidArgumentError("it is a witness's key, not a log's.");
  return [...logs, log];
}

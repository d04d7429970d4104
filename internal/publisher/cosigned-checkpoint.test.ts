import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { parseAddCheckpoint, TREE_SIZE_TYPE } from "../tlog/add-checkpoint.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { CosignatureSigner } from "../tlog/cosignature.ts";
import { parseNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { parseWitnessPolicy } from "../tlog/witness-policy.ts";
import { TestWitness } from "../witness/test-witness.ts";
import type { Publisher } from "./publisher.ts";
import { TestElection } from "./test-election.ts";
import { TestDirectories } from "./test-publisher.ts";
import { loadWitnessing, type Witnessing } from "./witnessing.ts";

/** A name, a key and an address, as a policy has them. */
interface Listed {
  readonly name: string;
  readonly verifierKey: string;
  readonly url: string;
}

const LIMITS = { requestMs: 5_000, firstBackoffMs: 20, lastBackoffMs: 100 };
/** A wait that no test outlasts, and one that is over at once. */
const [LONG, SHORT] = [60_000, 50];

let resources: AsyncDisposableStack;
let directories: TestDirectories;
let election: TestElection;
let publisher: Publisher | undefined;

beforeEach(async () => {
  resources = new AsyncDisposableStack();
  directories = resources.use(await TestDirectories.create());
  election = new TestElection();
});
afterEach(async () => {
  await close();
  await resources.disposeAsync();
});

async function close(): Promise<void> {
  await publisher?.[Symbol.asyncDispose]();
  publisher = undefined;
}

async function open(witnessing: Witnessing): Promise<void> {
  await close();
  publisher = await directories.open(election, { witnessing, witnessLimits: LIMITS });
}

function witnessing(
  witnesses: readonly Listed[],
  options: Partial<Witnessing> & { quorum?: string },
): Witnessing {
  const { quorum = "all", timeoutMs = LONG, required = false } = options;
  const lines = [
    ...witnesses.map(({ name, verifierKey, url }) => `witness ${name} ${verifierKey} ${url}`),
    `group enough ${quorum} ${witnesses.map(({ name }) => name).join(" ")}`,
    "quorum enough",
  ];
  const policyText = `${lines.join("\n")}\n`;
  return { policy: parseWitnessPolicy(utf8(policyText)), policyText, timeoutMs, required };
}

async function witness(name: string): Promise<TestWitness & Listed> {
  const seed = name.charCodeAt(0);
  const started = await TestWitness.start({ logs: [election.logKey], name: `${name}.test/w`, seed });
  resources.use(started);
  return Object.assign(started, { name });
}

/** A witness that does as it likes, over a real connection. */
async function rogue(
  name: string,
  answer: (body: Uint8Array, response: ServerResponse, signer: CosignatureSigner) => void | Promise<void>,
): Promise<Listed & { requests: number }> {
  const signer = CosignatureSigner.fromSeed(`${name}.test/w`, new Uint8Array(32).fill(name.charCodeAt(0)));
  const server = createServer(async (request, response) => {
    rogue.requests++;
    await answer(await bodyOf(request), response, signer);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  resources.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const rogue = { name, verifierKey: signer.verifierKey, url, requests: 0 };
  return rogue;
}

async function bodyOf(request: IncomingMessage): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of request as AsyncIterable<Uint8Array>) parts.push(part);
  return Buffer.concat(parts);
}

/** Passes requests on to a witness, after a while. */
function laggard(to: Listed, wait: () => Promise<unknown>) {
  return async (body: Uint8Array, response: ServerResponse) => {
    await wait();
    const answer = await fetch(`${to.url}/add-checkpoint`, { method: "POST", body: Buffer.from(body) });
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "" });
    response.end(await answer.text());
  };
}

async function submit(size: number): Promise<void> {
  const note = await publisher?.submit(election.id, election.grow(size).head());
  // What AuditService gets, and puts into the evidence, is the log's own.
  expect(parseNote(note ?? "").signatures.length).toBe(1);
}

interface Shown {
  readonly size: number;
  readonly cosigners: readonly string[];
}

/** What the public sees. */
async function shown(...witnesses: readonly Listed[]): Promise<Shown | undefined> {
  const note = await directories.file(`${election.id}/checkpoint`);
  if (!note) return undefined;
  const { checkpoint, cosignatures } = openCheckpoint({
    note,
    log: NoteVerifier.parse(election.logKey),
    witnesses: witnesses.map(({ verifierKey }) => NoteVerifier.parse(verifierKey)),
  });
  // No other lines, and none twice.
  expect(parseNote(note).signatures.length).toBe(1 + cosignatures.length);
  return { size: checkpoint.size, cosigners: cosignatures.map(({ verifier }) => verifier.name[0] ?? "") };
}

async function untilShown(size: number, cosigners: readonly Listed[], all = cosigners): Promise<void> {
  const expected = { size, cosigners: cosigners.map(({ name }) => name) };
  await vi.waitFor(async () => expect(await shown(...all)).toEqual(expected), {
    timeout: 20_000,
    interval: 10,
  });
}

async function failures(): Promise<string[]> {
  const text = await directories.metrics.render();
  return [...text.matchAll(/witness_failures_total\{.*?reason="(\w+)"/g)].map(([, reason = ""]) => reason);
}

describe("a log whose witnesses answer", () => {
  test("is shown with all their cosignatures, and goes on so", async () => {
    const all = [await witness("a"), await witness("b"), await witness("c")];
    await open(witnessing(all, {}));
    for (const size of [1, 2, 300, 301]) {
      await submit(size);
      await untilShown(size, all);
    }
    expect(await directories.outsider(election).check()).toBe(301);
  });

  test("learns from them where they are, which a restart forgot", async () => {
    const all = [await witness("a"), await witness("b")];
    await open(witnessing(all, {}));
    await submit(10);
    await untilShown(10, all);
    await open(witnessing(all, {}));
    await submit(300);
    await untilShown(300, all);
    expect(await failures()).toEqual([]);
  });

  test("keeps no cosignature in the signer's memory or in numbered checkpoints, and after a restart shows no less", async () => {
    const a = await witness("a");
    await open(witnessing([a], {}));
    await submit(10_000);
    await untilShown(10_000, [a]);
    const files = [`public/${election.id}/checkpoints/0000000001`, `state/${election.id}.checkpoint`];
    for (const file of files) {
      expect(parseNote(await readFile(join(directories.root, file))).signatures.length).toBe(1);
    }
    await a.stop();
    await open(witnessing([a], {}));
    await submit(10_000);
    expect(await shown(a)).toEqual({ size: 10_000, cosigners: ["a"] });
    // Nor does the signer learn it from there.
    expect(parseNote(await readFile(join(directories.root, files[1] ?? ""))).signatures.length).toBe(1);
    await a.start();
    await submit(10_001);
    await untilShown(10_001, [a]);
  });

  test("is shown as soon as there is a quorum; who comes later is added", async () => {
    const [a, b, c] = [await witness("a"), await witness("b"), await witness("c")];
    const late = Promise.withResolvers<void>();
    const slow = {
      ...(await rogue(
        "c",
        laggard(c, () => late.promise),
      )),
      verifierKey: c.verifierKey,
    };
    const all = [a, b, slow];
    await open(witnessing(all, { quorum: "2" }));
    await submit(5);
    await untilShown(5, [a, b], all);
    late.resolve();
    await untilShown(5, all);
  });
});

describe("a slow witness", () => {
  test("skips sizes and holds up nobody", async () => {
    const [a, b] = [await witness("a"), await witness("b")];
    let turn = Promise.withResolvers<void>();
    const proxy = await rogue(
      "b",
      laggard(b, () => turn.promise),
    );
    const slow = Object.assign(proxy, { verifierKey: b.verifierKey });
    await open(witnessing([a, slow], { quorum: "1" }));
    for (const size of [10, 20, 30, 40]) {
      await submit(size);
      await untilShown(size, [a], [a, slow]);
    }
    expect(slow.requests).toBe(1);
    turn.resolve();
    // Its answer for 10 is for nothing by now; 40 is the next that it is asked for.
    await untilShown(40, [a, slow]);
    turn = Promise.withResolvers<void>();
    turn.resolve();
    await submit(50);
    await untilShown(50, [a, slow]);
  });

  test("that hangs costs one time limit, and none after that", async () => {
    const [a, hanging] = [await witness("a"), await rogue("h", () => {})];
    await open(witnessing([a, hanging], { timeoutMs: SHORT }));
    await submit(10);
    await untilShown(10, [a], [a, hanging]);
    // While it is still at the first, nobody waits for it: LONG would show.
    for (const size of [20, 30, 40]) {
      await submit(size);
      await untilShown(size, [a], [a, hanging]);
    }
    expect(hanging.requests).toBe(1);
    expect(directories.logged).toContainEqual(
      expect.objectContaining({ level: "warn", message: "shown without a quorum of witnesses" }),
    );
  });
});

describe("with witnesses that are gone", () => {
  test("a log is shown without, at once, and with them when they are back", async () => {
    const a = await witness("a");
    await a.stop();
    // Refused connections need no time limit.
    await open(witnessing([a], { timeoutMs: LONG }));
    await submit(10);
    await untilShown(10, [], [a]);
    await submit(20);
    await untilShown(20, [], [a]);
    await a.start();
    await untilShown(20, [a]);
    expect(new Set(await failures())).toEqual(new Set(["unreachable"]));
  });

  test("a log that requires them stays as it was, is signed all the same, and goes on when they are back", async () => {
    const [a, b] = [await witness("a"), await witness("b")];
    await open(witnessing([a, b], { required: true, timeoutMs: SHORT }));
    await submit(10);
    await untilShown(10, [a, b]);
    await b.stop();
    for (const size of [20, 30, 40]) await submit(size);
    await vi.waitFor(async () => expect((await failures()).length).toBeGreaterThan(0));
    expect(await shown(a, b)).toEqual({ size: 10, cosigners: ["a", "b"] });
    // A restart shows no more than that.
    await open(witnessing([a, b], { required: true, timeoutMs: SHORT }));
    expect(await shown(a, b)).toEqual({ size: 10, cosigners: ["a", "b"] });
    await b.start();
    await untilShown(40, [a, b]);
    expect(await directories.outsider(election).check()).toBe(40);
  });
});

describe("a witness that lies", () => {
  const signs =
    (change: (text: string) => string) =>
    (body: Uint8Array, response: ServerResponse, signer: CosignatureSigner) => {
      const { text } = parseNote(parseAddCheckpoint(body).note);
      response.end(signer.cosign(change(text), 1_700_000_000));
    };
  const says =
    (status: number, body: string, headers: Record<string, string> = {}) =>
    (_: Uint8Array, response: ServerResponse) =>
      void response.writeHead(status, headers).end(body);
  const hasSize = (size: string) => says(409, size, { "content-type": TREE_SIZE_TYPE });

  test.each([
    ["signs another tree", "bad_answer", signs((text) => text.replace("\n5\n", "\n6\n"))],
    ["signs nothing", "bad_answer", says(200, "")],
    ["answers with a page", "bad_answer", says(200, "<html>welcome</html>\n")],
    ["answers without end", "bad_answer", says(200, "a".repeat(1 << 20))],
    [
      "answers with no UTF-8",
      "bad_answer",
      (_: Uint8Array, to: ServerResponse) => void to.end(Buffer.of(0xff, 10)),
    ],
    [
      "answers with another's cosignature",
      "bad_answer",
      (body: Uint8Array, to: ServerResponse) => {
        const { text } = parseNote(parseAddCheckpoint(body).note);
        to.end(CosignatureSigner.fromSeed("other.test/w", new Uint8Array(32).fill(9)).cosign(text, 1));
      },
    ],
    ["sends us elsewhere", "bad_answer", says(307, "", { location: "http://127.0.0.1:1/add-checkpoint" })],
    ["has seen more than was signed", "inconsistent", hasSize("9\n")],
    ["says the size that we said", "inconsistent", hasSize("0\n")],
    ["says a size that is none", "bad_answer", hasSize("-1\n")],
    ["has seen another tree", "inconsistent", says(422, "")],
    ["has seen another tree, and is older than 422", "inconsistent", says(409, "")],
    ["does not know the log", "refused", says(404, "")],
    ["does not know its key", "refused", says(403, "")],
    ["is overloaded", "unavailable", says(503, "")],
    ["hangs up", "unreachable", (_: Uint8Array, response: ServerResponse) => void response.destroy()],
  ])("that %s is told apart (%s) and left out", async (_, reason, answer) => {
    const [a, liar] = [await witness("a"), await rogue("z", answer)];
    await open(witnessing([a, liar], {}));
    await submit(5);
    await untilShown(5, [a], [a, liar]);
    await vi.waitFor(async () => expect(await failures()).toEqual([reason]));
    const level = ["unreachable", "unavailable"].includes(reason) ? "warn" : "error";
    expect(directories.logged).toContainEqual(
      expect.objectContaining({ level, witness: "z", failure: reason }),
    );
  });

  test("by a size that moves with each answer is not asked for ever", async () => {
    let size = 0;
    const liar = await rogue("z", (_, response) => {
      size = (size % 4) + 1;
      response.writeHead(409, { "content-type": TREE_SIZE_TYPE }).end(`${size}\n`);
    });
    await open(witnessing([liar], { timeoutMs: LONG }));
    await submit(5);
    await untilShown(5, [], [liar]);
    expect(await failures()).toEqual(["bad_answer"]);
  });
});

describe("a policy file", () => {
  const key = CosignatureSigner.fromSeed("a.test/w", new Uint8Array(32).fill(1)).verifierKey;
  const load = async (policy: string) => {
    const path = join(directories.root, "policy");
    await writeFile(path, policy);
    return loadWitnessing({ policy_file: path, timeout_ms: 100, required: false });
  };

  test("must be able to reach its quorum with the witnesses that can be asked", async () => {
    await expect(load(`witness a ${key} http://a.test\nquorum a\n`)).resolves.toMatchObject({
      timeoutMs: 100,
    });
    await expect(load(`witness a ${key}\nquorum none\n`)).rejects.toThrow("has no witness with a URL");
    await expect(load(`witness a ${key}\nquorum a\n`)).rejects.toThrow("has no witness with a URL");
    await expect(load("quorum a\n")).rejects.toThrow("cannot be used");
    await expect(load(`#${"a".repeat(1 << 20)}\nquorum none\n`)).rejects.toThrow("cannot be used");
  });
});

// What a voter does with promises and receipts on the command line: every answer, with its exit status, and every refusal.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { closingEntry, encodeEntry, type LogEntry, type VoteEntry } from "../ballot/entry.ts";
import { fromHex, toHex, utf8 } from "../core/bytes.ts";
import { sequence, shardId, treeSize, voteIdOf } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import evidence from "../evidence/vectors.json" with { type: "json" };
import { formatPromise, formatStatement, parseStatement } from "../receipt/promise.ts";
import { LOG_KEY, TestReceipts, voteEntry, WITNESS_KEY } from "../receipt/test-receipts.ts";
import vectors from "../receipt/vectors.json" with { type: "json" };
import { formatCheckpoint } from "../tlog/checkpoint.ts";
import { NoteSigner, signNote } from "../tlog/note.ts";
import { formatTlogProof } from "../tlog/tlog-proof.ts";
import { leafHash, nodeHash } from "../tlog/tree.ts";
import { requireRunning } from "./commands/cast.ts";
import { run } from "./run.ts";

const ELECTION = "council-2031";
const SHARDS = 16;
const promiseSigner = NoteSigner.fromSeed(LOG_KEY.name.concat("/promise"), fromHex(vectors.promise_seed));

let folder: string;
let server: Server;
let base: string;
/** What the public endpoint serves, by path within the election. */
let served: Map<string, Uint8Array>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "psephos-receipts-"));
  vi.stubEnv("PSEPHOS_PROFILE", join(folder, "none.json"));
  server = createServer((request, response) => {
    const body = served.get(request.url?.replace(`/${ELECTION}/`, "") ?? "");
    response.writeHead(body ? 200 : 404).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await writeFile(inFolder("manifest.json"), vectors.manifest.canonical);
  await writeFile(inFolder("policy"), `witness one ${WITNESS_KEY}\nquorum one\n`);
});

afterAll(async () => {
  await new Promise((resolve) => server?.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

const inFolder = (name: string) => join(folder, name);

/** A command of somebody without a profile, and all it wrote. */
async function psephos(...args: string[]) {
  const data: string[] = [];
  const said: string[] = [];
  const terminal = {
    data: (line: string) => data.push(line),
    say: (line: string) => said.push(line),
    progress: () => ({ update: () => {}, end: () => {} }),
  };
  const stopSignal = () => new AbortController().signal;
  const code = await run({ args, terminal, stopSignal });
  return { code, data: data.join("\n"), said: said.join("\n") };
}

async function json(...args: string[]) {
  const { code, data, said } = await psephos(...args, "--json");
  return { code, ...JSON.parse(data || JSON.stringify({ said })) };
}

/** Publishes a log; cosigned at that POSIX second if it is given. */
function publish(log: TestReceipts, cosignedAt?: number): void {
  served = new Map(log.objects);
  served.set("checkpoint", utf8(log.note(cosignedAt)));
  served.set("manifest.json", utf8(vectors.manifest.canonical));
}

const votes = [voteEntry(0, 1), voteEntry(1, 1), voteEntry(0, 2)];
const closing = closingEntry([{ sequence: sequence(1), hash: sha256(utf8("a head")) }]);
const log = new TestReceipts(votes);

/** A file with a promise of an entry, made at a moment in microseconds. */
async function promiseOf(entry: VoteEntry, issuedAt: number, name = "a.promise"): Promise<string> {
  const bytes = encodeEntry(entry);
  const [example] = vectors.promises;
  const batch = { batchSize: 1, batchRoot: leafHash(bytes), issuedAt };
  const text = formatStatement({ ...parseStatement(example?.statement ?? ""), ...batch });
  const statement = signNote(text, [promiseSigner]);
  await writeFile(inFolder(name), formatPromise({ entry: bytes, index: 0, proof: [], statement }));
  return inFolder(name);
}

describe("receipt and verify receipt", () => {
  test("a receipt is made of public files alone, and checked with the log's key alone", async () => {
    publish(log, 1_930_000_000);
    const vote = String(voteIdOf(shardId(0), sequence(2), SHARDS));
    const file = inFolder("a.tlog-proof");
    const made = await psephos("receipt", vote, "--election", ELECTION, "--public", base, "--out", file);
    expect(made).toEqual({ code: 0, data: "", said: `wrote ${file}` });
    expect(await readFile(file, "utf8")).toBe(await log.receipt(3, 1_930_000_000));

    const facts = { result: "ok", origin: LOG_KEY.name, log_size: 4, index: 3, shard: 0, sequence: 2 };
    const record_hash = toHex(votes[2]?.recordHash ?? utf8(""));
    const root = toHex(log.opened().checkpoint.root);
    const alone = await json("verify", "receipt", file, "--log-key", String(LOG_KEY));
    expect(alone).toEqual({ code: 0, ...facts, root, record_hash, cosignatures: [] });
    const known = ["--manifest", inFolder("manifest.json"), "--policy", inFolder("policy")];
    const cosignatures = [{ name: WITNESS_KEY.name, timestamp: 1_930_000_000 }];
    expect(await json("verify", "receipt", file, ...known)).toEqual({
      ...{ code: 0, ...facts, vote_id: 17, root, record_hash, cosignatures },
    });
    expect((await psephos("verify", "receipt", file, ...known)).data).toBe(
      [
        "checked: it is of the vote number 17, shard 0, sequence 2",
        `checked: its record hash is ${record_hash}`,
        `checked: ${LOG_KEY.name} signed a log of 4 entries`,
        "checked: witness.test/one cosigned it at 2031-02-27T23:06:40.000000Z",
        "checked: that log has the vote at index 3",
        "result: ok",
      ].join("\n"),
    );
  });

  test("a witness may say any time, and is repeated", async () => {
    const file = inFolder("late.tlog-proof");
    const verify = ["verify", "receipt", file, "--log-key", String(LOG_KEY), "--policy", inFolder("policy")];
    for (const seconds of [0, 253_402_300_799, 253_402_300_800, Number.MAX_SAFE_INTEGER]) {
      await writeFile(file, await log.receipt(3, seconds));
      expect(await json(...verify)).toMatchObject({ code: 0, cosignatures: [{ timestamp: seconds }] });
      expect(await psephos(...verify)).toMatchObject({
        code: 0,
        data: expect.stringContaining("result: ok"),
      });
    }
  });

  test("there is none of a vote that is not in the log, or not published", async () => {
    publish(log);
    const receipt = ["receipt", "999", "--election", ELECTION, "--public", base];
    expect(await psephos(...receipt)).toMatchObject({
      ...{ code: 3, said: expect.stringContaining("not among the 4 entries") },
    });
    served.clear();
    expect(await psephos(...receipt)).toMatchObject({
      ...{ code: 3, said: expect.stringContaining("nothing of council-2031") },
    });
  });

  test.each<[string, number, string, (receipt: string) => string | Uint8Array, string[]?]>([
    ["a forged one", 1, "leads to root", (receipt) => receipt.replace("\nindex 3\n", "\nindex 2\n")],
    ["one of another log", 1, "no trusted key", (receipt) => receipt.replaceAll(ELECTION, "council-2032")],
    ["a truncated one", 1, "no newline", (receipt) => receipt.slice(0, -2)],
    ["an empty one", 1, "no blank line", () => ""],
    ["a huge one", 1, "longer than 1048576 bytes", () => new Uint8Array(1 << 22)],
    ["one that is not UTF-8", 1, "not UTF-8", (receipt) => Uint8Array.of(...utf8(receipt), 0xff)],
    [
      "one that too few witnesses saw",
      1,
      "cosigned by none of its witnesses",
      (receipt) => receipt,
      ["policy"],
    ],
    ["a policy that is none", 2, "manifest.json is not a policy", (receipt) => receipt, ["manifest.json"]],
  ])("%s", async (_, code, why, change, policy = []) => {
    await writeFile(inFolder("bad.tlog-proof"), change(await log.receipt(3)));
    const options = ["--log-key", String(LOG_KEY), ...policy.flatMap((name) => ["--policy", inFolder(name)])];
    const refused = await psephos("verify", "receipt", inFolder("bad.tlog-proof"), ...options);
    expect(refused).toMatchObject({ code, data: "", said: expect.stringContaining(why) });
  });

  test("a command line that says too little, or something else, is wrong", async () => {
    await writeFile(inFolder("a.tlog-proof"), await log.receipt(3));
    const verify = (...args: string[]) => psephos("verify", "receipt", ...args);
    expect(await verify(inFolder("a.tlog-proof"))).toMatchObject({ code: 2, data: "" });
    expect((await verify(inFolder("a.tlog-proof"), "--log-key", String(WITNESS_KEY))).said).toContain(
      "no trusted key",
    );
    expect((await verify(inFolder("none"), "--log-key", String(LOG_KEY))).said).toContain("cannot be read");
    expect(await verify()).toMatchObject({ code: 2, data: "" });
  });
});

describe("verify promise", () => {
  const verify = (file: string, ...more: string[]) => ["verify", "promise", file, "--public", base, ...more];
  const LONG_AGO = 1_000_000_000_000_000;
  const DAY = 86_400_000_000;
  const missing = voteEntry(3, 9);

  test("kept", async () => {
    publish(log);
    const file = await promiseOf(votes[1] ?? missing, LONG_AGO);
    const vote = { election_id: ELECTION, vote_id: 2, record_hash: toHex(votes[1]?.recordHash ?? utf8("")) };
    expect(await json(...verify(file))).toEqual({
      ...{
        code: 0,
        result: "kept",
        ...vote,
        issued_at: LONG_AGO,
        due_at: LONG_AGO + DAY,
        log_size: 4,
        index: 2,
      },
    });
    const { data } = await psephos(...verify(file, "--manifest", inFolder("manifest.json")));
    expect(data).toMatch(/^checked: at 2001-09-09T01:46:40\.000000Z the vote 2 of council-2031 was promised/);
    expect(data).toMatch(/\nresult: kept: the log has the vote at index 2$/);
  });

  test("not yet due", async () => {
    publish(log);
    const file = await promiseOf(missing, Date.now() * 1000);
    expect(await json(...verify(file))).toMatchObject({ code: 3, result: "not-due", vote_id: 132 });
    expect((await psephos(...verify(file))).data).toMatch(/\nresult: not yet due: /);
  });

  const witnessed = { kind: "witnessed", witness: WITNESS_KEY.name, timestamp: 1_100_000_000 };
  const other = voteEntry(1, 1, "another record");
  test.each<[string, readonly LogEntry[], VoteEntry, number, object, string]>([
    ["by a clock", votes, missing, LONG_AGO, { kind: "own-clock" }, "by this machine's clock"],
    ["by a witness's clock", votes, missing, LONG_AGO, witnessed, "when witness.test/one cosigned it"],
    [
      "by the log's end",
      [...votes, closing],
      missing,
      Date.now() * 1000,
      { kind: "closed" },
      "the log is closed",
    ],
    [
      ...(["by another record", votes, other, Date.now() * 1000] as const),
      { kind: "other-record", index: 2, record_hash: toHex(votes[1]?.recordHash ?? utf8("")) },
      "another record in the vote's place, at index 2",
    ],
  ])("broken %s", async (_, entries, entry, issuedAt, breach, why) => {
    publish(new TestReceipts(entries), 1_100_000_000);
    const options = breach === witnessed ? ["--policy", inFolder("policy")] : [];
    const file = await promiseOf(entry, issuedAt);
    expect(await json(...verify(file, ...options))).toMatchObject({ code: 1, result: "broken", breach });
    expect((await psephos(...verify(file, ...options))).data).toMatch(
      new RegExp(`\nresult: BROKEN: .*${why}`),
    );
  });

  test("a promise that does not verify is no promise, and nobody's breach", async () => {
    publish(log);
    const text = await readFile(await promiseOf(missing, LONG_AGO), "utf8");
    const refusal = async (bad: string | Uint8Array) => {
      await writeFile(inFolder("bad.promise"), bad);
      const { code, data, said } = await psephos(...verify(inFolder("bad.promise")));
      expect([code, data]).toEqual([1, ""]);
      return said;
    };
    expect(await refusal(text.replace("\n86400\n", "\n60\n"))).toContain("does not verify");
    expect(await refusal(text.slice(0, -1))).toContain("no newline");
    expect(await refusal(new Uint8Array(1 << 22))).toContain("longer than 16384 bytes");
    expect(await refusal(Uint8Array.of(...utf8(text), 0xff))).toContain("not UTF-8");
    expect(await refusal(await log.receipt(3))).toContain("begins with the line psephos/promise-file/v1");
  });

  test("a log that cannot be read, or is not the election's, breaks no promise", async () => {
    const file = await promiseOf(missing, LONG_AGO);
    publish(log);
    served.delete("checkpoint");
    expect(await psephos(...verify(file))).toMatchObject({ code: 3, data: "" });
    served.delete("manifest.json");
    expect(await psephos(...verify(file))).toMatchObject({ code: 3, data: "" });
    publish(log);
    served.set("manifest.json", utf8(vectors.manifest.canonical.replace("Björn", "Jörn")));
    expect((await psephos(...verify(file))).said).toContain("another manifest");
    served.set("manifest.json", utf8("{}"));
    expect((await psephos(...verify(file))).said).toContain("is none");
    publish(new TestReceipts(votes, sha256(utf8("of another election"))));
    expect(await psephos(...verify(file))).toMatchObject({
      code: 1,
      data: "",
      said: expect.stringContaining("another manifest"),
    });
    publish(log);
    served.set("checkpoint", utf8(log.note().replace("\n4\n", "\n5\n")));
    expect((await psephos(...verify(file))).said).toContain("does not verify");
    publish(log);
    served.delete("tile/entries/000.p/4");
    expect((await psephos(...verify(file))).said).toContain("is missing");
  });
});

test("a promise that is dated later is noticed when it is given, by whoever has a clock", () => {
  const now = 1_930_000_000_000_000;
  requireRunning(0, now);
  requireRunning(now + 300_000_000, now);
  expect(() => requireRunning(now + 300_000_001, now)).toThrow(/recorded, .* runs from 2031-02-27T23:11:40/);
});

test("verify still checks whole elections, and knows what it does not", async () => {
  publish(log);
  const whole = await psephos(
    "verify",
    "--election",
    ELECTION,
    "--public",
    base,
    "--log-key",
    String(LOG_KEY),
  );
  expect(whole.data).toMatch(/^checked: 4 public entries/);
  expect(await psephos("verify", "everything")).toMatchObject({ code: 2, data: "" });
});

test("a receipt of a log that changed its key takes the change, and then the new key", async () => {
  const { from, file } = evidence.key_change;
  const origin = `psephos.test/${ELECTION}`;
  // A log that has the change at index 1, as the file says, and then a vote.
  const others = nodeHash(leafHash(utf8("an entry")), leafHash(utf8("another")));
  const vote = encodeEntry(voteEntry(0, 1));
  const head = { origin, size: treeSize(3), root: nodeHash(others, leafHash(vote)) };
  const receiptBy = async (seed: number) => {
    const signer = NoteSigner.fromSeed(origin, new Uint8Array(32).fill(seed));
    const checkpoint = signNote(formatCheckpoint(head), [signer]);
    const path = inFolder(`by-${seed}.tlog-proof`);
    await writeFile(path, formatTlogProof({ extra: vote, index: 2, proof: [others], checkpoint }));
    return path;
  };
  await writeFile(inFolder("change"), file);
  const verify = async (seed: number, ...more: string[]) => {
    const { code } = await psephos("verify", "receipt", await receiptBy(seed), "--log-key", from, ...more);
    return code;
  };
  expect(await verify(9)).toBe(1);
  expect(await verify(9, "--key-changes", inFolder("change"))).toBe(0);
  expect(await verify(8, "--key-changes", inFolder("change"))).toBe(1);
  expect(await verify(9, "--key-changes", inFolder("change"), inFolder("change"))).toBe(2);
});

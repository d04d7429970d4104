import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { cosignaturesOf } from "../tlog/cosignature.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { TestWitness } from "./test-witness.ts";
import { ORIGIN, SigningLog, witnessContract } from "./witness.contract.ts";

witnessContract("psephos witness", (logKey) => TestWitness.start({ logs: [logKey] }));

describe("what others do not promise", () => {
  const log = new SigningLog(ORIGIN);
  let witness: TestWitness;

  beforeEach(async () => {
    witness = await TestWitness.start({ logs: [log.signer.verifierKey] });
  });
  afterEach(() => witness[Symbol.asyncDispose]());

  const post = async (body: string) =>
    (await fetch(`${witness.url}/add-checkpoint`, { method: "POST", body })).status;

  /** Its files, but for the lock and what is in flight. */
  async function files(): Promise<string[]> {
    const names = await readdir(join(witness.folder, "state"), { recursive: true });
    return names.filter((name) => !name.startsWith(".")).sort();
  }

  test("an unknown log is 404, a signature that is missing 403, a fork of the same size 422", async () => {
    expect(await post(new SigningLog("psephos.test/another").request(0, 10))).toBe(404);
    expect(await post(new SigningLog(ORIGIN, { seed: 2 }).request(0, 10))).toBe(403);
    expect(await post(log.request(0, 100))).toBe(200);
    expect(await post(log.forkedAt(50).request(100, 100))).toBe(422);
    expect(await post("old 0\n\nno checkpoint\n")).toBe(400);
    expect(await post(`old 0\n\n${"a".repeat(20_000)}`)).toBe(413);
  });

  test("two signed trees of one size are kept as proof, once", async () => {
    await post(log.request(0, 100));
    expect((await files()).length).toBe(1);
    for (const at of [50, 50, 60]) expect(await post(log.forkedAt(at).request(100, 100))).toBe(422);
    // As if it had seen nothing: the proof is kept all the same.
    expect(await post(log.forkedAt(70).request(0, 100))).toBe(409);
    const conflicts = (await files()).filter((name) => name.endsWith("/other"));
    expect(conflicts.length).toBe(3);
    const verifier = NoteVerifier.parse(log.signer.verifierKey);
    for (const path of conflicts) {
      const [ours, theirs] = await Promise.all(
        ["cosigned", "other"].map(async (name) => {
          const note = await readFile(join(witness.folder, "state", path, "..", name));
          return openCheckpoint({ note, log: verifier }).checkpoint;
        }),
      );
      expect(ours?.size).toBe(theirs?.size);
      expect(ours?.root).not.toEqual(theirs?.root);
    }
    expect(witness.logged).toContainEqual(expect.objectContaining({ level: "fatal" }));
  });

  test("everybody can read its key and what it cosigned last", async () => {
    const index = async () =>
      (await fetch(witness.url)).json() as Promise<{ logs: Record<string, unknown>[] }>;
    expect(await index()).toMatchObject({
      witness_key: witness.verifierKey,
      logs: [{ origin: ORIGIN, size: 0, root: null }],
    });
    await post(log.request(0, 100));
    const [{ checkpoint, size } = {}] = (await index()).logs;
    expect(size).toBe(100);
    const note = await (await fetch(`${witness.url}${checkpoint}`)).text();
    expect(openCheckpoint({ note, log: NoteVerifier.parse(log.signer.verifierKey) }).checkpoint.size).toBe(
      100,
    );
    expect(cosignaturesOf(note, [NoteVerifier.parse(witness.verifierKey)]).length).toBe(1);
    // Lines of strangers are not kept, let alone shown.
    const stranger = new SigningLog("stranger.test", { seed: 3 }).signer.sign("x\n");
    expect(await post(log.request(100, 200) + stranger)).toBe(200);
    expect(await (await fetch(`${witness.url}${checkpoint}`)).text()).not.toContain("stranger");
  });

  test("a log with two keys is one log, cosigned whichever of them signed", async () => {
    const rotated = new SigningLog(ORIGIN, { seed: 2 });
    await using both = await TestWitness.start({
      logs: [log.signer.verifierKey, rotated.signer.verifierKey],
    });
    const post = async (body: string) =>
      (await fetch(`${both.url}/add-checkpoint`, { method: "POST", body })).status;
    expect(await post(log.request(0, 100))).toBe(200);
    expect(await post(rotated.request(100, 200))).toBe(200);
  });

  test("the same checkpoint again costs no write, whoever sends it", async () => {
    await post(log.request(0, 100));
    const [name = ""] = await files();
    const inode = async () => (await stat(join(witness.folder, "state", name))).ino;
    const written = await inode();
    expect(await post(log.request(100, 100))).toBe(200);
    expect(await inode()).toBe(written);
    expect(await post(log.request(100, 200))).toBe(200);
    expect(await inode()).not.toBe(written);
  });

  test("a broken state is an error, and never a new beginning", async () => {
    await post(log.request(0, 100));
    const [name = ""] = await files();
    const path = join(witness.folder, "state", name);
    const whole = await readFile(path);
    for (const broken of ["", "garbage\n", String(whole).replace(ORIGIN, `${ORIGIN}x`)]) {
      await writeFile(path, broken);
      expect(await post(log.request(0, 100))).toBe(500);
      expect(await readFile(path, "utf8")).toBe(broken);
    }
    await writeFile(path, whole);
    expect(await post(log.request(100, 200))).toBe(200);
  });

  test("its folder has one witness", async () => {
    await expect(witness.start()).rejects.toMatchObject({ name: "DirectoryLockedError" });
  });

  test("who connects and says nothing holds up nobody", async () => {
    const silent = Array.from({ length: 20 }, () => connect(Number(new URL(witness.url).port), "127.0.0.1"));
    silent[0]?.write("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold");
    expect(await post(log.request(0, 100))).toBe(200);
    for (const socket of silent) socket.destroy();
  });
});

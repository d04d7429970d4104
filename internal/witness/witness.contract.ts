// For tests: what every witness does (c2sp.org/tlog-witness), ours and others'.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { toBase64, utf8 } from "../core/bytes.ts";
import { treeSize } from "../core/ids.ts";
import type { Hash } from "../core/sha256.ts";
import { addCheckpoint, WitnessError } from "../publisher/witness-client.ts";
import { formatAddCheckpoint } from "../tlog/add-checkpoint.ts";
import { formatCheckpoint } from "../tlog/checkpoint.ts";
import { cosignaturesOf } from "../tlog/cosignature.ts";
import { NoteSigner, signNote } from "../tlog/note.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { countingEntries, OracleTree } from "../tlog/test-oracle.ts";

export interface WitnessUnderTest extends AsyncDisposable {
  readonly url: string;
  readonly verifierKey: string;
  /** Ends it as a crash would, and starts it again with what it had on disk. */
  restart(): Promise<void>;
}

/** A log that signs any size of itself, and any fork. */
export class SigningLog {
  readonly signer: NoteSigner;
  readonly tree: OracleTree;

  constructor(
    origin: string,
    options: { readonly seed?: number; readonly entries?: readonly Uint8Array[] } = {},
  ) {
    this.signer = NoteSigner.fromSeed(origin, new Uint8Array(32).fill(options.seed ?? 1));
    this.tree = new OracleTree(options.entries ?? countingEntries(300));
  }

  /** The same log with another entry at an index, and signed with the same key. */
  forkedAt(index: number): SigningLog {
    return new SigningLog(this.signer.name, { entries: countingEntries(300).with(index, utf8("another")) });
  }

  note(size: number): string {
    const root = this.tree.root(size);
    return signNote(formatCheckpoint({ origin: this.signer.name, size: treeSize(size), root }), [
      this.signer,
    ]);
  }

  proof(oldSize: number, size: number): Hash[] {
    return oldSize === 0 ? [] : this.tree.consistencyProof(oldSize, size);
  }

  /** A request's body. */
  request(oldSize: number, size: number): string {
    return formatAddCheckpoint({
      oldSize: treeSize(oldSize),
      proof: this.proof(oldSize, size),
      note: this.note(size),
    });
  }
}

export const ORIGIN = "psephos.test/contract";

/** `start` makes a witness that has never seen the log of that key. */
export function witnessContract(name: string, start: (logKey: string) => Promise<WitnessUnderTest>): void {
  describe(name, () => {
    const log = new SigningLog(ORIGIN);
    let witness: WitnessUnderTest;

    beforeEach(async () => {
      witness = await start(log.signer.verifierKey);
    });
    afterEach(() => witness[Symbol.asyncDispose]());

    async function post(body: string): Promise<{ status: number; type: string | null; text: string }> {
      const response = await fetch(`${witness.url}/add-checkpoint`, { method: "POST", body });
      const [type = null] = response.headers.get("content-type")?.split(";") ?? [];
      return { status: response.status, type, text: await response.text() };
    }

    const statusOf = async (body: string) => (await post(body)).status;
    const size = (size: number) => ({ status: 409, type: "text/x.tlog.size", text: `${size}\n` });

    function submit(oldSize: number, newSize: number, from = log) {
      return addCheckpoint({
        witness: NoteVerifier.parse(witness.verifierKey),
        url: witness.url,
        oldSize: treeSize(oldSize),
        proof: from.proof(oldSize, newSize),
        note: from.note(newSize),
        signal: AbortSignal.timeout(10_000),
      });
    }

    test("cosigns a log that grows, and the same checkpoint again", async () => {
      const started = Math.floor(Date.now() / 1000);
      let oldSize = 0;
      for (const newSize of [1, 1, 2, 7, 8, 256, 257, 300, 300]) {
        const { cosignature } = await submit(oldSize, newSize);
        const note = log.note(newSize) + (cosignature?.line ?? "");
        expect(cosignaturesOf(note, [NoteVerifier.parse(witness.verifierKey)]).length).toBe(1);
        expect(cosignature?.timestamp).toBeGreaterThanOrEqual(started);
        expect(cosignature?.timestamp).toBeLessThanOrEqual(Date.now() / 1000);
        oldSize = newSize;
      }
    });

    test("says which size it has to whoever has it wrong, and remembers it over a crash", async () => {
      expect(await submit(0, 100)).toHaveProperty("cosignature");
      expect(await submit(0, 200)).toEqual({ size: 100 });
      expect(await submit(50, 200)).toEqual({ size: 100 });
      await witness.restart();
      expect(await post(log.request(0, 200))).toEqual(size(100));
      expect(await post(log.request(0, 100))).toEqual(size(100));
      expect(await submit(100, 200)).toHaveProperty("cosignature");
      // Back is not on.
      expect(await post(log.request(100, 150))).toEqual(size(200));
      expect(await statusOf(log.request(100, 200).replace("old 100", "old 201"))).toBe(400);
      expect(await post(log.request(0, 1))).toEqual(size(200));
    });

    test("refuses a fork, of the same size and of a larger one", async () => {
      await submit(0, 100);
      const fork = log.forkedAt(50);
      for (const newSize of [100, 101, 200]) {
        expect([409, 422]).toContain(await statusOf(fork.request(100, newSize)));
        await expect(submit(100, newSize, fork)).rejects.toThrow(WitnessError);
        await expect(submit(100, newSize, fork)).rejects.toMatchObject({ failure: "inconsistent" });
      }
      // From the beginning, as if it had seen nothing: it has.
      expect(await post(fork.request(0, 200))).toEqual(size(100));
      // None of that has changed what it goes on from.
      await witness.restart();
      expect(await submit(100, 200)).toHaveProperty("cosignature");
    });

    test("refuses a proof with any hash changed, too many or too few", async () => {
      await submit(0, 100);
      const proof = log.proof(100, 200);
      const bodies = proof.flatMap((hash, at) => {
        const bent = hash.with(7, (hash[7] ?? 0) ^ 1);
        return [proof.with(at, bent as Hash), proof.toSpliced(at, 1), proof.toSpliced(at, 0, hash)];
      });
      for (const bent of bodies) {
        const body = formatAddCheckpoint({ oldSize: treeSize(100), proof: bent, note: log.note(200) });
        expect(await statusOf(body)).toBe(422);
      }
      expect(await submit(100, 200)).toHaveProperty("cosignature");
    });

    test("refuses logs that it does not know, and what its log has not signed", async () => {
      const unknown = new SigningLog("psephos.test/another");
      expect([403, 404]).toContain(await statusOf(unknown.request(0, 10)));
      await expect(submit(0, 10, unknown)).rejects.toMatchObject({ failure: "refused" });
      // The same origin, signed with another key; then a signature that does not verify.
      const imposter = new SigningLog(ORIGIN, { seed: 2 });
      expect(await statusOf(imposter.request(0, 10))).toBe(403);
      const changed = log.request(0, 10).replace(toBase64(log.tree.root(10)), toBase64(log.tree.root(9)));
      expect(await statusOf(changed)).toBe(403);
      expect(await submit(0, 10)).toHaveProperty("cosignature");
    });

    test("refuses garbage", async () => {
      const body = log.request(0, 10);
      for (const garbage of [
        "",
        "\n",
        "old 0\n",
        "old 0\n\n",
        `old x${body.slice(5)}`,
        body.replace("old 0", "old -1"),
      ]) {
        expect(await statusOf(garbage), JSON.stringify(garbage)).toBeGreaterThanOrEqual(400);
      }
      // More than any request has, announced and sent.
      const large = await post(`${body}${"a".repeat(1 << 20)}`).catch(() => ({ status: 413 }));
      expect(large.status).toBeGreaterThanOrEqual(400);
      expect((await fetch(`${witness.url}/add-checkpoint`)).status).toBe(405);
      expect((await fetch(`${witness.url}/nothing`)).status).toBeGreaterThanOrEqual(404);
      expect(await submit(0, 10)).toHaveProperty("cosignature");
    });

    test("of requests that come at once from one size, lets each that it answers extend the one before", async () => {
      await submit(0, 10);
      const sizes = [20, 30, 40, 50, 60, 70];
      const answers = await Promise.all(sizes.map((newSize) => submit(10, newSize)));
      const cosigned = sizes.filter((_, index) => answers[index]?.cosignature);
      expect(cosigned.length).toBe(1);
      const [winner = 0] = cosigned;
      expect(answers.filter((answer) => answer.size === winner).length).toBe(sizes.length - 1);
      await witness.restart();
      expect(await post(log.request(0, 300))).toEqual(size(winner));
    });
  });
}

import { createCipheriv, createHmac, createSecretKey, hash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { base64 } from "@scure/base";
import { recordHash } from "../../internal/ballot/record.ts";
import { concat, u16, u64, utf8 } from "../../internal/core/bytes.ts";
import { sequence, shardId } from "../../internal/core/ids.ts";
import { asHash, sha256 } from "../../internal/core/sha256.ts";
import { GrowingTree } from "../../internal/tlog/growing-tree.ts";
import { DirectoryStore } from "../../internal/worm/directory-store.ts";
import { putAll } from "../../internal/worm/put-all.ts";
import { type Comparison, measure, type Result } from "./measure.ts";
import { rounded, type Section, say } from "./section.ts";

const N = 50_000;

const bytes = (length: number) => new Uint8Array(randomBytes(length));
const times = (count: number, run: (i: number) => unknown) => () => {
  for (let i = 0; i < count; i++) run(i);
};

function hashing(size: number): Comparison {
  const data = bytes(size);
  return {
    what: `SHA-256 of ${size} bytes`,
    ours: "node:crypto's one-shot hash",
    plain: "noble",
    unit: "hashes",
    units: N,
    runOurs: times(N, () => sha256(data)),
    runPlain: times(N, () => nobleSha256(data)),
  };
}

function digestForm(): Comparison {
  const data = bytes(169);
  return {
    what: "SHA-256 of 169 bytes in node:crypto",
    ours: "a string of a character a byte, copied",
    plain: "a buffer",
    unit: "hashes",
    units: N,
    runOurs: times(N, () => sha256(data)),
    runPlain: times(N, () => hash("sha256", data, "buffer")),
  };
}

function recordHashing(): Comparison {
  const previous = asHash(bytes(32));
  const record = {
    shard: shardId(3),
    sequence: sequence(17),
    voterPseudonym: bytes(32),
    revision: 1,
    sealedChoice: bytes(63),
    castAt: 1_780_000_000_000_000,
  };
  const domain = utf8("psephos/record/v1\n");
  const revision = new Uint8Array(4);
  return {
    what: "hash of a record",
    ours: "one buffer for all preimages",
    plain: "a new preimage each time",
    unit: "records",
    units: N,
    runOurs: times(N, () => recordHash(previous, 16, record)),
    runPlain: times(N, () =>
      sha256(
        concat(
          domain,
          previous,
          u64(260),
          u16(32),
          record.voterPseudonym,
          revision,
          u16(63),
          record.sealedChoice,
          u64(record.castAt),
        ),
      ),
    ),
  };
}

function pseudonyms(): Comparison {
  const raw = randomBytes(32);
  const key = createSecretKey(raw);
  const voter = "a-voter-id-of-usual-length";
  return {
    what: "HMAC-SHA-256 of a voter id",
    ours: "a KeyObject made once",
    plain: "the key's bytes each time",
    unit: "pseudonyms",
    units: N,
    runOurs: times(N, () => createHmac("sha256", key).update(voter).digest()),
    runPlain: times(N, () => createHmac("sha256", raw).update(voter).digest()),
  };
}

function sealing(): Comparison {
  const raw = randomBytes(32);
  const key = createSecretKey(raw);
  const nonce = Buffer.alloc(12);
  const data = bytes(83);
  const choice = bytes(2);
  const seal = (k: Parameters<typeof createCipheriv>[1], iv: Uint8Array) => {
    const cipher = createCipheriv("aes-256-gcm", k, iv, { authTagLength: 16 });
    cipher.setAAD(data);
    cipher.update(choice);
    cipher.final();
    return cipher.getAuthTag();
  };
  return {
    what: "AES-256-GCM of a choice",
    ours: "a KeyObject and a counter",
    plain: "the key's bytes and a random nonce each time",
    unit: "choices",
    units: N,
    runOurs: times(N, (i) => {
      nonce.writeUInt32BE(i, 8);
      return seal(key, nonce);
    }),
    runPlain: times(N, () => seal(raw, randomBytes(12))),
  };
}

function base64Encoding(): Comparison {
  const data = bytes(63);
  return {
    what: "base64 of a sealed choice",
    ours: "Buffer, in evidence segments",
    plain: "the encoder that also runs in a browser",
    unit: "choices",
    units: N,
    runOurs: times(N, () => Buffer.from(data.buffer, data.byteOffset, data.length).toString("base64")),
    runPlain: times(N, () => base64.encode(data)),
  };
}

function treeGrowth(): Comparison {
  const entry = bytes(43);
  const node = bytes(65);
  return {
    what: "growing the Merkle tree",
    ours: "GrowingTree, with tiles and a root every 10,000",
    plain: "its two SHA-256 an entry alone",
    unit: "entries",
    units: N,
    runOurs: () => {
      const tree = GrowingTree.empty();
      for (let i = 0; i < N; i++) {
        tree.append(entry);
        if (i % 10_000 === 0) {
          tree.root();
          tree.takeTiles();
        }
      }
    },
    runPlain: times(N, () => {
      sha256(entry);
      return sha256(node);
    }),
  };
}

/** Eighty small objects, about what a head of 10,000 entries writes, each flushed to the disk. */
async function tileWriting(folder: string): Promise<Comparison> {
  let run = 0;
  const put = async (atOnce: number) => {
    const store = new DirectoryStore({ directory: join(folder, String(run++)) });
    const objects = Array.from({ length: 80 }, (_, i) => ({ key: `tile/0/${i}`, body: bytes(8192) }));
    await putAll(store, objects, atOnce);
  };
  return {
    what: "writing 80 tiles, each flushed to disk",
    ours: "16 at once",
    plain: "one after another",
    unit: "tiles",
    units: 80,
    runOurs: () => put(16),
    runPlain: () => put(1),
  };
}

/** Every ratio that a comment in the code or a document relies on. */
export const comparisons: Section = {
  name: "ways",
  heading: "Two ways of doing one thing",
  async measure() {
    const folder = await mkdtemp(join(tmpdir(), "psephos-bench-"));
    try {
      const all = [
        hashing(43),
        hashing(200),
        digestForm(),
        recordHashing(),
        pseudonyms(),
        sealing(),
        base64Encoding(),
        treeGrowth(),
        await tileWriting(folder),
      ];
      const results: Result[] = [];
      for (const comparison of all) {
        say(comparison.what);
        results.push(await measure(comparison));
      }
      return { markdown: report(results), json: results.map(asJson) };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

function report(results: readonly Result[]): string {
  return `Median of seven rounds, with the lowest and highest ratio.

| what | this project | instead of | ratio | lowest – highest | rates |
|---|---|---|---|---|---|
${results.map(row).join("\n")}`;
}

function row({ comparison, ours, plain, ratio, lowest, highest }: Result): string {
  const rates = `${rounded(ours)} and ${rounded(plain)} ${comparison.unit}/s`;
  const spread = `${lowest.toFixed(2)} – ${highest.toFixed(2)}`;
  return `| ${comparison.what} | ${comparison.ours} | ${comparison.plain} | **${ratio.toFixed(2)}** | ${spread} | ${rates} |`;
}

function asJson({ comparison, ours, plain, ratio, lowest, highest }: Result): object {
  const { what, unit } = comparison;
  return { what, unit, ours_per_second: ours, plain_per_second: plain, ratio, lowest, highest };
}

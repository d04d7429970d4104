// Programs that share no code with this project check a public log that the Publisher made, over HTTP and in its folder,
// and find what was changed in a copy of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findGoProgram } from "../../deploy/local/go-programs.ts";
import { runProgram } from "../../deploy/local/run-program.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { treeSize } from "../core/ids.ts";
import { asHash } from "../core/sha256.ts";
import { PublicHttpServer } from "../publisher/public-http.ts";
import { signHead } from "../publisher/signed-head.ts";
import { TEST_KEY, TEST_PREFIX, TestElection } from "../publisher/test-election.ts";
import { TestDirectories, testClientLimits } from "../publisher/test-publisher.ts";

const TLOGCHECK = fileURLToPath(new URL("../../deploy/checkers/tlogcheck", import.meta.url));

/** Three blocks, the last of them short, and sizes in between. At level 1 the last tile is partial, too. */
const SIZES = [1, 257, 9_999, 10_000, 12_345, 20_000, 20_700];
const SIZE = 20_778;

const resources = new AsyncDisposableStack();
const log = new TestElection();
/** The public folder of the log, and where it is served. */
let folder: string;
let url: string;

interface Checker {
  /** Resolves to what it found wrong, or undefined when it found nothing. */
  check(place: string): Promise<string | undefined>;
}
const checkers = {} as Record<"fsck" | "tlogcheck", Checker>; // In beforeAll.

beforeAll(async () => {
  const directories = resources.use(await TestDirectories.create());
  const publisher = resources.use(await directories.open(log));
  for (const size of SIZES) await publisher.submit(log.id, log.grow(size).head());
  await publisher.submit(
    log.id,
    log
      .grow(SIZE - 1)
      .close()
      .head(),
  );
  folder = join(directories.public, log.id);

  const procedures = { has: () => false, serve: () => Promise.reject(new Error("none is served")) };
  const { logger, publisherMetrics: metrics } = directories;
  const place = { host: "127.0.0.1", port: 0 };
  const http = { ...place, files: publisher, clients: testClientLimits(), procedures, logger, metrics };
  url = `${resources.use(await PublicHttpServer.listen(http)).url}/${log.id}`;

  const keyFile = join(directories.root, "log.key");
  await writeFile(keyFile, log.logKey);
  checkers.fsck = fsck(await findGoProgram("fsck"), keyFile);
  const program = join(directories.root, "tlogcheck");
  // Go itself knows whether an earlier build will do.
  const args = ["build", "-trimpath", "-o", program, "."];
  await runProgram({ file: "go", args, cwd: TLOGCHECK, env: { CGO_ENABLED: "0" }, timeoutMs: 300_000 });
  checkers.tlogcheck = tlogcheck(program);
}, 600_000);

afterAll(() => resources.disposeAsync());

/** Its exit status is 0 whatever it finds; it says what. */
function fsck(program: string, keyFile: string): Checker {
  return {
    async check(place) {
      const storage = place.startsWith("http") ? place : pathToFileURL(place).href;
      const args = [`--storage_url=${storage}/`, `--public_key=${keyFile}`, "--ui=false", "--N=16"];
      const { status, stderr } = await run(program, args);
      if (status === 0 && new RegExp(`Successfully fsck'd log with size ${SIZE} `).test(stderr))
        return undefined;
      const failure = /fsck failed: (.*)/.exec(stderr)?.[1];
      if (failure === undefined) throw new Error(`fsck says neither (exit status ${status}): ${stderr}`);
      return failure;
    },
  };
}

function tlogcheck(program: string): Checker {
  return {
    async check(place) {
      const { status, stdout, stderr } = await run(program, ["-key", log.logKey, place]);
      if (status === 0) {
        expect(stdout).toContain(`checkpoints/0000000003: ${SIZE} entries, consistent`);
        expect(stdout).toContain(`entries: all ${SIZE} are those of the tree`);
        expect(stdout).toContain("inclusion: 64 proofs hold");
        return undefined;
      }
      if (status !== 1) throw new Error(`tlogcheck ended with ${status}: ${stderr}`);
      return stderr;
    },
  };
}

async function run(file: string, args: string[]) {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
  const ended = Promise.all([once(child, "exit"), text(child.stdout), text(child.stderr)]);
  const [[status], stdout, stderr] = await ended;
  return { status, stdout, stderr };
}

/** Changes one bit of a file. */
async function flip(file: string, offset: number): Promise<void> {
  const bytes = await readFile(file);
  bytes.writeUInt8(bytes.readUInt8(offset) ^ 1, offset);
  await writeFile(file, bytes);
}

/** A checkpoint with the log's own signature and another root: what only its operator could make. */
function forged(size: number): string {
  const root = asHash(Buffer.alloc(32, 7));
  return signHead([TEST_KEY.signerFor(TEST_PREFIX, log.id)], { size: treeSize(size), root }).note;
}

interface Tampering {
  readonly what: string;
  readonly tamper: (copy: string) => Promise<void>;
  /** What each says, or that it does not look there. */
  readonly fsck: RegExp | "does not look";
  readonly tlogcheck: RegExp;
}

const TAMPERINGS: readonly Tampering[] = [
  {
    what: "a byte of an entry",
    tamper: (copy) => flip(join(copy, "tile/entries/003"), 1000),
    fsck: /tile\/0\/003: log has/,
    tlogcheck: /entry 790 is not the one whose hash is in the tree/,
  },
  {
    what: "a byte of the last entries",
    tamper: (copy) => flip(join(copy, "tile/entries/081.p/42"), 1000),
    fsck: /tile\/0\/081\.p\/42: log has/,
    tlogcheck: /entry 20758 is not the one/,
  },
  {
    what: "the length of an entry",
    tamper: (copy) => flip(join(copy, "tile/entries/003"), 0),
    fsck: /unmarshal/,
    tlogcheck: /tile\/entries\/003: it ends (within entry|after) /,
  },
  {
    what: "a byte of a tile of leaf hashes",
    tamper: (copy) => flip(join(copy, "tile/0/005"), 4000),
    fsck: /tile\/0\/005: log has/,
    tlogcheck: /from 1280 on: .*inconsistent tile/,
  },
  {
    what: "a byte of a partial tile",
    tamper: (copy) => flip(join(copy, "tile/0/081.p/42"), 41 * 32),
    fsck: /tile\/0\/081\.p\/42: log has/,
    tlogcheck: /inconsistent tile/,
  },
  {
    what: "a byte of the partial tile above",
    tamper: (copy) => flip(join(copy, "tile/1/000.p/81"), 0),
    fsck: /tile\/1\/000\.p\/81: log has/,
    tlogcheck: /inconsistent tile/,
  },
  {
    what: "the root in the checkpoint",
    tamper: async (copy) => {
      const lines = (await readFile(join(copy, "checkpoint"), "utf8")).split("\n");
      lines[2] = Buffer.alloc(32, 7).toString("base64");
      await writeFile(join(copy, "checkpoint"), lines.join("\n"));
    },
    fsck: /failed to fetch and verify checkpoint/,
    tlogcheck: /checkpoint: invalid signature/,
  },
  {
    what: "the root, signed with the log's own key",
    tamper: (copy) => writeFile(join(copy, "checkpoint"), forged(SIZE)),
    fsck: /checkpoint claims/,
    tlogcheck: /checkpoint: not a continuation of the log of 20778 entries/, // The numbered one has the true root.
  },
  {
    what: "the root of a numbered checkpoint, signed with the log's own key",
    tamper: (copy) => writeFile(join(copy, "checkpoints/0000000002"), forged(20_000)),
    fsck: "does not look",
    tlogcheck: /checkpoints\/0000000002: .*inconsistent tile/,
  },
  {
    what: "the end of the log, which is gone",
    tamper: async (copy) => {
      for (const file of ["tile/entries/081.p/42", "tile/0/081.p/42"]) await rm(join(copy, file));
    },
    fsck: /error while streaming bundles/,
    tlogcheck: /081: .*no such file/,
  },
  {
    what: "the end of a bundle, which is cut off",
    tamper: (copy) => truncate(join(copy, "tile/entries/080"), 256 * 45 - 20),
    fsck: /unmarshal/,
    tlogcheck: /tile\/entries\/080: it ends within entry 255/,
  },
];

describe.each(["fsck", "tlogcheck"] as const)("%s", (name) => {
  test("accepts the log over HTTP", async () => {
    expect(await checkers[name].check(url)).toBeUndefined();
  });

  test("accepts the same log as a folder", async () => {
    expect(await checkers[name].check(folder)).toBeUndefined();
  });

  const seen = TAMPERINGS.filter((tampering) => tampering[name] !== "does not look");
  test.each(seen)("rejects $what", async ({ tamper, [name]: found }) => {
    await using place = await TemporaryFolder.create();
    const copy = join(place.path, log.id);
    await cp(folder, copy, { recursive: true });
    await tamper(copy);
    expect(await checkers[name].check(copy)).toMatch(found);
  });
});

// What the page does in a citizen's browser: a receipt checked, and a log of the size of Vermont's election verified whole.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { encodeEntry } from "../../internal/ballot/entry.ts";
import { encodeManifest } from "../../internal/ballot/manifest.ts";
import { u64, utf8 } from "../../internal/core/bytes.ts";
import { electionId, sequence, shardId } from "../../internal/core/ids.ts";
import { sha256 } from "../../internal/core/sha256.ts";
import { formatCheckpoint } from "../../internal/tlog/checkpoint.ts";
import { GrowingTree } from "../../internal/tlog/growing-tree.ts";
import { NoteSigner, signNote } from "../../internal/tlog/note.ts";
import { TileReader } from "../../internal/tlog/tile-reader.ts";
import { formatTlogProof } from "../../internal/tlog/tlog-proof.ts";
import { openBrowser } from "../local/chromium.ts";
import { findPage } from "../local/page.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { rounded, type Section, say } from "./section.ts";

/** Vermont's 370,968 ballots and the manifest's entry. */
const ENTRIES = 370_969;
const BLOCK = 10_000;
const SHARDS = 16;
const ID = electionId("page");
const CHECKS = 15;

export const page: Section = {
  name: "page",
  heading: "The page in the browser",
  async measure() {
    await using folder = await TemporaryFolder.create();
    say(`a log of ${ENTRIES.toLocaleString("en-US")} entries`);
    const receipt = await writeLog(folder.path);
    await cp(await findPage(), folder.path, { recursive: true });
    await using server = await serve(folder.path);
    const browser = await openBrowser();
    try {
      const shown = await browser.newPage();
      say("receipts");
      await shown.goto(`${server.url}#/${ID}/receipt`);
      // The page has the log's checkpoint before it is asked anything, as with a person.
      await shown.waitForResponse(`${server.url}${ID}/checkpoint`);
      for (let check = 0; check < CHECKS; check++) {
        await shown.getByLabel("Or its text").fill(receipt);
        await shown.getByRole("button", { name: "Check", exact: true }).click();
        await shown.locator("[data-verdict=good]").waitFor();
        await shown.getByLabel("Or its text").fill("");
        await shown.getByRole("button", { name: "Check", exact: true }).click();
        await shown.locator("[data-verdict]").waitFor({ state: "detached" });
      }
      const [first = 0, ...others] = await durations(shown, "check receipt");
      const median = others.sort((a, b) => a - b)[Math.floor(others.length / 2)] ?? 0;
      say("the whole log");
      await shown.goto(`${server.url}#/${ID}/verify`);
      await shown.getByRole("button", { name: "Verify", exact: true }).click();
      await shown.locator("[data-outcome=good]").waitFor({ timeout: 600_000 });
      const [wholeMs = 0] = await durations(shown, "verify log");
      const perSecond = ENTRIES / (wholeMs / 1000);
      return {
        markdown: `In ${browser.browserType().name()} ${browser.version()} without a window, from files on this machine. A receipt is checked with its signature, its proof and
the question to the log whether it still has all that the receipt's checkpoint had. The whole log is ${ENTRIES.toLocaleString("en-US")} entries, every
tile and every numbered checkpoint, in one worker.

| | |
|---|---|
| a receipt, the first one | ${first.toFixed(0)} ms |
| a receipt, median of ${others.length} more | ${median.toFixed(0)} ms |
| the whole log | ${rounded(perSecond)} entries/s, ${(wholeMs / 1000).toFixed(1)} s |`,
        json: {
          first_receipt_ms: first,
          receipt_ms: median,
          entries: ENTRIES,
          entries_per_second: perSecond,
        },
      };
    } finally {
      await browser.close();
    }
  },
};

/** What the page itself measured. */
async function durations(
  shown: { evaluate(code: string): Promise<unknown> },
  name: string,
): Promise<number[]> {
  const found = await shown.evaluate(
    `performance.getEntriesByName(${JSON.stringify(name)}).map(({ duration }) => duration)`,
  );
  return Array.isArray(found) ? found.map(Number) : [];
}

/** The public folder of a log, with nothing behind it. Answers the receipt of a vote, of an older checkpoint. */
async function writeLog(folder: string): Promise<string> {
  const signer = NoteSigner.fromSeed(`bench.test/${ID}`, new Uint8Array(32).fill(7));
  const manifest = encodeManifest({
    electionId: ID,
    title: "The page in the browser",
    choices: [{ id: "ada", name: "Ada" }],
    shards: SHARDS,
    revoting: "forbidden",
    opensAt: 0,
    closesAt: null,
    tallyKey: sha256(utf8("not a key that anything is sealed to")),
    trustees: { shares: 3, threshold: 2 },
    logKey: signer.verifierKey,
  });
  const files = new Map<string, Uint8Array>([["manifest.json", manifest]]);
  const tree = GrowingTree.empty();
  const sign = () => {
    for (const { path, bytes } of tree.takeTiles()) files.set(path, bytes);
    return signNote(formatCheckpoint({ origin: signer.name, size: tree.size, root: tree.root() }), [signer]);
  };
  let receipt = "";
  tree.append(encodeEntry({ type: "manifest", manifestHash: sha256(manifest) }));
  for (let vote = 0; tree.size < ENTRIES; vote++) {
    const [shard, place] = [shardId(vote % SHARDS), sequence(Math.floor(vote / SHARDS) + 1)];
    tree.append(encodeEntry({ type: "vote", shard, sequence: place, recordHash: sha256(u64(vote)) }));
    if (tree.size % BLOCK > 0) continue;
    const note = sign();
    files.set(`checkpoints/${String(tree.size / BLOCK).padStart(10, "0")}`, utf8(note));
    if (tree.size === 20 * BLOCK) receipt = await receiptOf(files, tree, note, 123_456);
  }
  files.set("checkpoint", utf8(sign()));
  for (const [path, bytes] of files) {
    const file = join(folder, ID, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, bytes);
  }
  await writeFile(join(folder, "index.json"), JSON.stringify({ elections: [{ election_id: ID }] }));
  return receipt;
}

async function receiptOf(
  files: ReadonlyMap<string, Uint8Array>,
  tree: GrowingTree,
  checkpoint: string,
  index: number,
): Promise<string> {
  const reader = new TileReader({
    fetch: async (path) => files.get(path),
    size: tree.size,
    root: tree.root(),
  });
  const [extra, proof] = await Promise.all([reader.entry(index), reader.inclusionProof(index)]);
  return formatTlogProof({ extra, index, proof, checkpoint });
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  css: "text/css",
};

/** A folder, as any file server would serve it. */
async function serve(folder: string): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const file = path === "/" ? "/index.html" : path;
    readFile(join(folder, file)).then(
      (bytes) => {
        const type = TYPES[file.split(".").at(-1) ?? ""] ?? "application/octet-stream";
        response.writeHead(200, { "Content-Type": type, "Content-Length": bytes.length }).end(bytes);
      },
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // not a pipe
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

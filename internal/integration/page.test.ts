// The page as citizens have it: a real Chromium against the running services, good and bad logs, good and forged receipts.
import { cp, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBrowser } from "../../deploy/local/chromium.ts";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { asHash } from "../core/sha256.ts";
import { keyChangePath } from "../evidence/key-change.ts";
import { SigningKey } from "../publisher/signing-key.ts";
import { serveDirectory } from "../publisher/test-mirror.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { formatTlogProof } from "../tlog/tlog-proof.ts";
import { TestWitness } from "../witness/test-witness.ts";
import { type TestElection, TestStack, until } from "./election-fixture.ts";

type Browser = Awaited<ReturnType<typeof openBrowser>>;
type ContextOptions = Parameters<Browser["newContext"]>[0];

/** Short, so that a log that stands still is late soon. */
const MAXIMUM_DELAY_S = 6;
const VOTES = 700;
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

const resources = new AsyncDisposableStack();
let stack: TestStack;
let election: TestElection;
let browser: Browser;
let base: string;

beforeAll(async () => {
  [stack, browser] = await Promise.all([
    TestStack.start({
      configure: { publisher: (config) => ({ ...config, maximum_delay_s: MAXIMUM_DELAY_S }) },
    }),
    openBrowser(),
  ]);
  resources.use(stack);
  resources.defer(() => browser.close());
  base = `http://${stack.stack.addresses.public}/`;
  election = await stack.createElection("town", { title: `Mayor of "<Ada & Bob>"` });
  await castAndPublish(VOTES);
});
afterAll(() => resources.disposeAsync());

async function castAndPublish(count: number): Promise<void> {
  await election.cast(election.ballots(count));
  const least = election.ledger.size + 1;
  await until("all votes are public", async () => (await election.publishedSize()) >= least);
}

/** A visitor who was never here. The page says what it should not have done: complaints, and requests to elsewhere. */
async function visit(route = "", options: ContextOptions = {}, origin = base) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith("data:"))
      complaints.push(request.url());
  });
  await page.goto(`${origin}${route}`);
  return { page, complaints, [Symbol.asyncDispose]: () => context.close() };
}

/** What a voter is given: the entry of a vote, its proof and a signed checkpoint. */
async function receiptOf(index: number): Promise<string> {
  const note = await election.source("checkpoint");
  const { checkpoint } = openCheckpoint({
    note: note ?? "",
    log: NoteVerifier.parse(election.manifest.logKey),
  });
  const reader = new TileReader({ fetch: election.source, ...checkpoint });
  const [extra, proof] = await Promise.all([reader.entry(index), reader.inclusionProof(index)]);
  return formatTlogProof({
    extra,
    index,
    proof: proof.map(asHash),
    checkpoint: Buffer.from(note ?? "").toString(),
  });
}

test("the log, live: it grows while one looks, and nothing is asked of anybody else", async () => {
  await using visitor = await visit();
  const { page, complaints } = visitor;
  await page.getByRole("heading", { level: 1, name: `Mayor of "<Ada & Bob>"` }).waitFor();
  const entries = page.locator("dt:has-text('Entries in the log') + dd");
  await castAndPublish(50);
  const size = await election.publishedSize();
  await expect.poll(() => entries.textContent(), { timeout: 20_000 }).toContain(size.toLocaleString("en-US"));
  await page.locator("[data-condition=good]").waitFor();
  await page.getByText("The same as a table").click();
  await expect.poll(() => page.locator("table tbody tr").count()).toBeGreaterThan(1);
  expect(complaints).toEqual([]);
});

describe("check my receipt", () => {
  const check = async (page: Awaited<ReturnType<typeof visit>>["page"], text: string) => {
    await page.getByLabel("Or its text").fill(text);
    await page.getByRole("button", { name: "Check", exact: true }).click();
    await page.locator("[data-verdict]").waitFor();
    return {
      verdict: await page.locator("[data-verdict]").getAttribute("data-verdict"),
      steps: await page.locator("[data-step]").evaluateAll((steps) => steps.map((step) => step.className)),
    };
  };

  test("a good one, as a file and as a text, is good in each of its steps", async () => {
    await using visitor = await visit("#/town/receipt");
    const { page, complaints } = visitor;
    const receipt = await receiptOf(123);
    await castAndPublish(20); // So that the log is not the receipt's own any more.
    expect(await check(page, receipt)).toEqual({ verdict: "good", steps: Array(5).fill("passed") });
    await page.reload();
    await page
      .getByLabel("Receipt or promise")
      .setInputFiles({ name: "vote.tlog-proof", mimeType: "text/plain", buffer: Buffer.from(receipt) });
    await page.getByText("Your vote is entry 123 of the log").waitFor();
    await page.getByRole("link", { name: "See the entry in the log" }).click();
    await page.getByText("the entry hashes to the signed root").waitFor();
    expect(complaints).toEqual([]);
  });

  test("a forged one fails where it was forged", async () => {
    await using visitor = await visit("#/town/receipt");
    const { page } = visitor;
    const receipt = await receiptOf(123);
    const otherEntry = receipt.replace(/^extra .*$/m, (await receiptOf(124)).match(/^extra .*$/m)?.[0] ?? "");
    expect(await check(page, otherEntry)).toEqual({
      verdict: "forged",
      steps: ["passed", "passed", "passed", "failed", "not-reached"],
    });
    const otherSize = receipt.replace(
      /^(\S+\/town)\n(\d+)$/m,
      (_, origin, size) => `${origin}\n${Number(size) - 1}`,
    );
    expect(await check(page, otherSize)).toEqual({
      verdict: "forged",
      steps: ["passed", "passed", "failed", "not-reached", "not-reached"],
    });
    expect(await check(page, "my vote")).toMatchObject({ verdict: "forged" });
  });

  test("a promise was kept, and one for another vote was not made", async () => {
    await using visitor = await visit("#/town/receipt");
    const { page } = visitor;
    const [promise = "", other = ""] = election.ledger.promises;
    expect(await check(page, promise)).toMatchObject({ verdict: "promise-kept" });
    const forged = promise.replace(/^entry .*$/m, other.match(/^entry .*$/m)?.[0] ?? "");
    expect(forged).not.toBe(promise);
    expect(await check(page, forged)).toMatchObject({ verdict: "forged" });
  });
});

test("from the newest checkpoint down to an entry, by following links", async () => {
  await using visitor = await visit("#/town/explore");
  const { page, complaints } = visitor;
  await page.getByRole("link", { name: "Newest checkpoint" }).click();
  await page.getByRole("link", { name: "Tile 0 of level 1" }).click();
  await page.locator(".hashes a").first().click();
  await page.getByText("These 256 hashes were found under the signed root.").waitFor();
  await page.locator(".hashes a").nth(7).click();
  await page.getByRole("heading", { name: "Entry 7" }).waitFor();
  await page.getByText("A vote", { exact: true }).waitFor();
  expect(page.url()).toContain("#/town/checkpoint/latest/entry/7");
  expect(complaints).toEqual([]);
});

describe("verify the whole log here", () => {
  const verify = async () => {
    await using visitor = await visit("#/town/verify");
    await visitor.page.getByRole("button", { name: "Verify", exact: true }).click();
    const outcome = visitor.page.locator("[data-outcome]");
    await outcome.waitFor();
    return { outcome: await outcome.getAttribute("data-outcome"), text: await outcome.textContent() };
  };

  test("all of it is right", async () => {
    const { outcome, text } = await verify();
    expect({ outcome, text }).toMatchObject({ outcome: "good" });
    expect(text).toContain((await election.publishedSize()).toLocaleString("en-US"));
  });

  test.each(["tile/0/000", "tile/entries/001"])(
    "with one bit of %s changed, that file is named",
    async (path) => {
      const file = join(stack.stack.folders.public, "town", path);
      const bytes = await readFile(file);
      const changed = Buffer.from(bytes);
      changed.writeUInt8(changed.readUInt8(50) ^ 1, 50);
      // As another file, which the Publisher then sees to be another.
      const replace = (content: Uint8Array) =>
        writeFile(`${file}.new`, content).then(() => rename(`${file}.new`, file));
      await replace(changed);
      try {
        const { outcome, text } = await verify();
        expect({ outcome, text }).toMatchObject({ outcome: "bad" });
        expect(text).toContain(path);
      } finally {
        await replace(bytes);
      }
    },
  );
});

test("an older checkpoint than the browser saw, in another visit too, is a log that contradicts itself", async () => {
  await using visitor = await visit();
  const { page } = visitor;
  const old = Buffer.from((await election.source("checkpoint")) ?? []);
  await castAndPublish(10);
  await page.reload();
  const size = await election.publishedSize();
  await page.getByText(size.toLocaleString("en-US")).first().waitFor();
  await page.route("**/town/checkpoint", (route) => route.fulfill({ body: old }));
  await page.locator("[data-condition=broken]").waitFor();
  await page.reload();
  await page.locator("[data-condition=broken]").waitFor();
});

describe.each(["light", "dark"] as const)("in the %s theme", (colorScheme) => {
  test("axe finds nothing on any view, and nothing is wider than a phone", async () => {
    await using visitor = await visit("", { colorScheme, viewport: { width: 390, height: 800 } });
    const { page, complaints } = visitor;
    const session = await page.context().newCDPSession(page);
    const axe = `${await readFile(AXE, "utf8")};
      axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html)))`;
    const views = [
      ["#/town", "[data-condition] + dl"],
      ["#/town/receipt", "textarea"],
      ["#/town/explore", "form"],
      ["#/town/checkpoint/latest", "pre"],
      ["#/town/checkpoint/latest/tile/0/0", ".hashes"],
      ["#/town/checkpoint/latest/entry/3", ".hashes"],
      ["#/town/verify", "main button"],
      ["#/town/downloads", "code"],
      ["#/nowhere", "[role=alert]"],
    ] as const;
    for (const [route, shown] of views) {
      await page.goto(`${base}${route}`);
      await page.locator(shown).first().waitFor();
      // Not as a script of the page, which its policy forbids.
      const { result } = await session.send("Runtime.evaluate", {
        expression: axe,
        awaitPromise: true,
        returnByValue: true,
      });
      expect(result.value, route).toEqual([]);
      expect(await page.evaluate("document.documentElement.scrollWidth"), route).toBeLessThanOrEqual(390);
    }
    // Of #/nowhere the browser itself says that there is no manifest.
    expect(complaints.filter((complaint) => !complaint.includes("404"))).toEqual([]);
  });
});

test("by keyboard alone: past the navigation, and a receipt checked", async () => {
  await using visitor = await visit("#/town/receipt");
  const { page } = visitor;
  const receipt = await receiptOf(5);
  await page.locator("textarea").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter"); // Skip to the content.
  await page.keyboard.press("Tab"); // The file.
  await page.keyboard.press("Tab");
  await page.keyboard.insertText(receipt);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator("[data-verdict=good]").waitFor();
});

test("without scripts there are the figures and the files", async () => {
  await using visitor = await visit("", { javaScriptEnabled: false });
  const { page } = visitor;
  await page.getByRole("heading", { name: `Mayor of "<Ada & Bob>"` }).waitFor();
  const size = await election.publishedSize();
  expect(await page.locator("dl.figures").textContent()).toContain(size.toLocaleString("en-US"));
  const href = await page.getByRole("link", { name: "The newest signed checkpoint" }).getAttribute("href");
  expect((await fetch(new URL(href ?? "", base))).status).toBe(200);
});

test("a copy of the public folder on any static host is the page, too", async () => {
  await using folder = await TemporaryFolder.create();
  const mirror = join(folder.path, "a", "mirror");
  await cp(stack.stack.folders.public, mirror, { recursive: true });
  await using server = await serveDirectory(join(folder.path, "a"));
  await using visitor = await visit("mirror/#/town/verify", {}, `${server.url}/`);
  await visitor.page.getByRole("button", { name: "Verify", exact: true }).click();
  await visitor.page.locator("[data-outcome=good]").waitFor();
  expect(visitor.complaints).toEqual([]);
});

test("who witnessed the log is shown, and its receipts are good", async () => {
  const witness = resources.use(await TestWitness.start({ logs: [election.manifest.logKey] }));
  const { services, folders } = stack.stack;
  const policy = join(folders.signingKeyFile, "..", "witness-policy");
  await writeFile(policy, `witness w ${witness.verifierKey} ${witness.url}\nquorum w\n`);
  const { config } = services.publisher;
  services.publisher.config = { ...config, witnesses: { policy_file: policy } };
  await services.publisher.restart();
  await castAndPublish(1);
  await using visitor = await visit();
  const { page } = visitor;
  await page.getByText("1 of 1 signed").waitFor();
  await page.goto(`${base}#/town/receipt`);
  await page.getByLabel("Or its text").fill(await receiptOf(300));
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await page.locator("[data-verdict=good]").waitFor();
  // Without it again: this witness does not follow the change of key below.
  services.publisher.config = config;
  await services.publisher.restart();
});

test("a log that changes its key is followed, and receipts of before stay good", async () => {
  await using visitor = await visit("#/town/receipt");
  const { page } = visitor;
  const receipt = await receiptOf(200);
  const { services, folders } = stack.stack;
  const next = join(folders.signingKeyFile, "..", "next-signing-key");
  await SigningKey.generate(next);
  services.publisher.config = { ...services.publisher.config, next_key_file: next };
  await services.publisher.restart();
  // With the next vote: a log that does not grow is not signed anew.
  await castAndPublish(1);
  await until("the log has the change", async () => (await election.source(keyChangePath(1))) !== undefined);
  const { key_file: _, next_key_file: __, ...config } = services.publisher.config as Record<string, unknown>;
  services.publisher.config = { ...config, key_file: next };
  await services.publisher.restart();
  await castAndPublish(5);
  await page.getByLabel("Or its text").fill(receipt);
  await page.getByRole("button", { name: "Check", exact: true }).click();
  await page.locator("[data-verdict=good]").waitFor();
  await page.goto(`${base}#/town`);
  await page.locator("[data-condition=good]").waitFor();
  await page.goto(`${base}#/town/verify`);
  await page.getByRole("button", { name: "Verify", exact: true }).click();
  await page.locator("[data-outcome=good]").waitFor();
});

test("a log that stalls is said to have stalled, and that it goes on when it does", async () => {
  await using visitor = await visit();
  const { page } = visitor;
  const sealing = stack.stack.services["audit-service"];
  await castAndPublish(1);
  await page.locator("[data-condition=good]").waitFor();
  await sealing.stop();
  await election.cast(election.ballots(10));
  await page.locator("[data-condition=stalled]").waitFor();
  expect(await page.locator("[data-condition]").textContent()).toContain(`within ${MAXIMUM_DELAY_S} seconds`);
  await sealing.start();
  await page.locator("[data-condition=good]").waitFor();
  const publisher = stack.stack.services.publisher;
  await publisher.stop();
  await page.locator("[data-condition=unreachable]").waitFor();
  await publisher.start();
});

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { electionId } from "../core/ids.ts";
import { FrontPage } from "./front-page.ts";
import { HotFiles } from "./hot-files.ts";
import type { Publisher } from "./publisher.ts";
import { TestElection } from "./test-election.ts";
import { failure, TestDirectories } from "./test-publisher.ts";

const TEMPLATE = `<main><!--election
<h2>{title}</h2><a href="{election}/checkpoint">{size}</a><time datetime="{published_at}">{published}</time>
--></main>`;

let directories: TestDirectories;
let built: string;

beforeEach(async () => {
  directories = await TestDirectories.create({ inMemory: true });
  built = join(directories.root, "page");
  await mkdir(join(built, "_page"), { recursive: true });
  await writeFile(join(built, "_page", "index-abc.js"), "run()");
  await writeFile(join(built, "index.html"), TEMPLATE);
});
afterEach(() => directories[Symbol.asyncDispose]());

async function shown(
  publisher: Publisher,
  pages = new FrontPage({ files: new HotFiles({ files: publisher }) }),
) {
  return Buffer.from((await pages.read())?.bytes ?? []).toString();
}

test("it has the figures of each election, as they are now, and a title's markup is text", async () => {
  const town = new TestElection({ election: electionId("town"), title: "<script>&\"'" }).grow(1_500);
  await using publisher = await directories.open(town, { pageDirectory: built });
  const pages = new FrontPage({ files: new HotFiles({ files: publisher }) });
  expect(await shown(publisher, pages)).toBe("<main></main>");
  await publisher.submit(town.id, town.head());
  const html = await shown(publisher, pages);
  expect(html).toContain('<h2>&#60;script&#62;&#38;&#34;&#39;</h2><a href="town/checkpoint">1,500</a>');
  expect(html).toMatch(/<time datetime="\d{4}-\d\d-\d\dT[^"]+Z">\w{3}, [^<]+ GMT<\/time>/);
  const before = await pages.read();
  expect(await pages.read()).toBe(before);
  await publisher.submit(town.id, town.grow(1_600).head());
  expect(await shown(publisher, pages)).toContain(">1,600<");
});

test("a newer page takes the place of an older one, whose files stay", async () => {
  const town = new TestElection();
  await (await directories.open(town, { pageDirectory: built }))[Symbol.asyncDispose]();
  await writeFile(join(built, "index.html"), "newer");
  await writeFile(join(built, "_page", "index-def.js"), "run(2)");
  await using publisher = await directories.open(town, { pageDirectory: built });
  expect(await shown(publisher)).toBe("newer");
  expect((await publisher.read("_page/index-abc.js"))?.toString()).toBe("run()");
  expect((await publisher.read("_page/index-def.js"))?.toString()).toBe("run(2)");
});

test("without a page there is none, and a folder that is none is refused", async () => {
  const town = new TestElection();
  {
    await using publisher = await directories.open(town);
    expect(await shown(publisher)).toBe("");
  }
  const error = await failure(directories.open(town, { pageDirectory: join(built, "_page") }));
  expect(String(error)).toContain("is no built page");
});

// npm run bench: measures what comments and documents claim, and writes docs/benchmarks.md. With names, only those sections.
// With --json, what was measured is one line of JSON on standard output, and no file is written.
import { readFile, writeFile } from "node:fs/promises";
import { audit } from "./audit.ts";
import { checkpointDelay } from "./checkpoint-delay.ts";
import { comparisons } from "./comparisons.ts";
import { page } from "./page.ts";
import { promise } from "./promise.ts";
import { publicHttp } from "./public-http.ts";
import { recovery } from "./recovery.ts";
import { machine, renderDocument, type Section, say } from "./section.ts";

const SECTIONS: readonly Section[] = [
  comparisons,
  checkpointDelay,
  promise,
  publicHttp,
  audit,
  recovery,
  page,
];
const DOCUMENT = new URL("../../docs/benchmarks.md", import.meta.url);

const names = process.argv.slice(2).filter((argument) => argument !== "--json");
const unknown = names.find((name) => !SECTIONS.some((section) => section.name === name));
if (unknown !== undefined) {
  console.error(`no section "${unknown}": there are ${SECTIONS.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

const texts = new Map<string, string>();
const results: Record<string, object> = {};
for (const section of SECTIONS) {
  if (names.length > 0 && !names.includes(section.name)) continue;
  say(section.heading);
  const { markdown, json } = await section.measure();
  texts.set(section.heading, `${markdown.trim()}\n\n${machine()}`);
  results[section.name] = json;
}
if (process.argv.includes("--json")) console.log(JSON.stringify(results));
else {
  const known = await readFile(DOCUMENT, "utf8").catch(() => "");
  await writeFile(
    DOCUMENT,
    renderDocument(
      known,
      texts,
      SECTIONS.map(({ heading }) => heading),
    ),
  );
}

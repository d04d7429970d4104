import { arch, cpus, platform } from "node:os";

/** A part of docs/benchmarks.md, and what measures it. */
export interface Section {
  /** As `npm run bench -- NAME` takes it. */
  readonly name: string;
  /** Of the document, after `## `. */
  readonly heading: string;
  /** Takes minutes. Says on standard error what it is at. */
  measure(): Promise<Measured>;
}

export interface Measured {
  /** What follows the heading: what was measured how, and the figures. Ratios first. */
  readonly markdown: string;
  readonly json: object;
}

const PREFACE = `# Benchmarks

Written by \`npm run bench\`; do not edit. \`npm run bench -- NAME …\` measures some sections anew and leaves the others.
What is compared is measured in one run, in turns where that can be, so that whatever else the machine does slows both:
ratios are what counts, rates only say which order they are of.
`;

/** `known`, with `sections` in the place of those of the same heading; in the order of `headings`, and no other. */
export function renderDocument(
  known: string,
  sections: ReadonlyMap<string, string>,
  headings: readonly string[],
): string {
  const all = new Map([...parseDocument(known), ...sections]);
  const rendered = headings.flatMap((heading) => {
    const text = all.get(heading);
    return text === undefined ? [] : [`## ${heading}\n\n${text.trim()}\n`];
  });
  return [PREFACE, ...rendered].join("\n");
}

/** The sections of a document by heading. */
function parseDocument(text: string): Map<string, string> {
  const parts = `\n${text}`.split("\n## ").slice(1);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf("\n");
      return end < 0 ? [part, ""] : [part.slice(0, end), part.slice(end + 1)];
    }),
  );
}

/** Each section says where its figures are from: they need not all be of one day. */
export function machine(): string {
  const model = cpus()[0]?.model ?? "unknown CPU";
  const day = new Date().toISOString().slice(0, 10);
  return `Measured on ${cpus().length} × ${model}, ${platform()}-${arch()}, Node ${process.version}, ${day}.`;
}

/** Two significant digits, which is more than a rate on a shared machine is good for. */
export function rounded(value: number): string {
  return Number(value.toPrecision(2)).toLocaleString("en-US");
}

export function say(what: string): void {
  process.stderr.write(`${what} …\n`);
}

import { expect, test } from "vitest";
import { renderDocument } from "./section.ts";

const HEADINGS = ["Ways", "Recovery"];

test("a section that is measured anew replaces its old text, and the others stay, in order", () => {
  const first = renderDocument("", new Map([["Recovery", "166 s"]]), HEADINGS);
  const second = renderDocument(first, new Map([["Ways", "| 2.0 |\n\n### Of it\n\n| 1 |"]]), HEADINGS);
  const third = renderDocument(second, new Map([["Recovery", "99 s"]]), HEADINGS);
  expect(third.slice(third.indexOf("## "))).toBe(
    "## Ways\n\n| 2.0 |\n\n### Of it\n\n| 1 |\n\n## Recovery\n\n99 s\n",
  );
  expect(third.startsWith("# Benchmarks\n")).toBe(true);
});

test("what no section is measured for any more goes", () => {
  expect(renderDocument("# Old\n\n## Gone\n\n1\n", new Map(), HEADINGS)).not.toContain("Gone");
});

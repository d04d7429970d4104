import { expect, test } from "vitest";
import { Needle } from "./needle.ts";

const needle = new Needle("a voter id", "voter 1234567");

test.each([0, 1, 2, 3])(
  "finds bytes as they are, in hexadecimal and in base64, %i bytes into a text",
  (offset) => {
    const text = Buffer.from(`${"x".repeat(offset)}voter 1234567 and so on`);
    for (const encoding of ["latin1", "hex", "base64"] as const) {
      expect(needle.isIn(Buffer.from(text.toString(encoding)))).toBe(true);
    }
    expect(needle.isIn(Buffer.from(text.toString("hex").toUpperCase()))).toBe(true);
    expect(needle.isIn(Buffer.from("voter 1234568"))).toBe(false);
  },
);

test("what stands in its harmless context, on either side, is not found, and beside it is", () => {
  const candidate = new Needle("a candidate", "candidate-77", { before: '{"id":"', after: '","name":' });
  const manifest = '{"choices":[{"id":"candidate-77","name":"Eve"}]}';
  for (const encoding of ["latin1", "hex"] as const) {
    const found = (text: string) => candidate.isIn(Buffer.from(Buffer.from(text).toString(encoding)));
    expect(found(manifest)).toBe(false);
    expect(found(manifest.slice(manifest.indexOf("candidate-77")))).toBe(false);
    expect(found(`${manifest}{"choice":"candidate-77"}`)).toBe(true);
  }
});

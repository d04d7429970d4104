import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCsv } from "./csv.ts";

const cells = (text: string) => parseCsv(text).map((row) => row.cells);

describe("comma-separated values", () => {
  test.each<[string, string[][]]>([
    ["", []],
    ["\n\r\n", []],
    [
      "a,b\n1,2\n",
      [
        ["a", "b"],
        ["1", "2"],
      ],
    ],
    [
      "a,b\r\n1,2",
      [
        ["a", "b"],
        ["1", "2"],
      ],
    ],
    [",a", [["", "a"]]],
    ["a,", [["a", ""]]],
    [
      ",\n,,",
      [
        ["", ""],
        ["", "", ""],
      ],
    ],
    ['"a,b",c', [["a,b", "c"]]],
    ['"Roque ""Rocky"" De La Fuente",1', [['Roque "Rocky" De La Fuente', "1"]]],
    ['"two\nlines",x\ny', [["two\nlines", "x"], ["y"]]],
    ['"",x', [["", "x"]]],
    ["\ufeffa,b", [["a", "b"]]],
    ["a b , c", [["a b ", " c"]]],
  ])("%j", (text, expected) => {
    expect(cells(text)).toEqual(expected);
  });

  test.each(['"a', 'x\ny"z,1', '"a"b,c', 'a,"b" ,c'])("%j has a quote out of place", (text) => {
    expect(() => parseCsv(text)).toThrow(/^line \d: a quote is out of place$/);
  });

  test("lines are counted, within quotes too", () => {
    expect(parseCsv('a\n\n"b\nc",d\ne').map(({ line }) => line)).toEqual([1, 3, 5]);
    expect(() => parseCsv('a\n"b\nc"\n"d')).toThrow("line 4");
  });

  test("what is written is read back", () => {
    const quote = (cell: string) => `"${cell.replaceAll('"', '""')}"`;
    fc.assert(
      fc.property(fc.array(fc.array(fc.string(), { minLength: 2, maxLength: 4 })), (rows) => {
        const text = rows.map((row) => row.map(quote).join(",")).join("\n");
        expect(cells(text)).toEqual(rows);
      }),
    );
  });
});

/** What may stand around an occurrence, on one side at least, that is none to worry about. */
export interface Harmless {
  readonly before: string;
  readonly after: string;
}

interface Form {
  readonly bytes: Buffer;
  readonly before?: Buffer;
  readonly after?: Buffer;
}

/** Bytes to be found wherever they were written, as themselves or in hexadecimal or base64. */
export class Needle {
  readonly name: string;
  readonly #forms: readonly Form[];

  /** `name` is what reports call it. */
  constructor(name: string, content: string | Uint8Array, harmless?: Harmless) {
    this.name = name;
    const bytes = Buffer.from(content);
    const form = (write: (bytes: Buffer) => string | Buffer): Form => ({
      bytes: Buffer.from(write(bytes)),
      ...(harmless && {
        before: Buffer.from(write(Buffer.from(harmless.before))),
        after: Buffer.from(write(Buffer.from(harmless.after))),
      }),
    });
    this.#forms = [
      form((bytes) => bytes),
      form((bytes) => bytes.toString("hex")),
      form((bytes) => bytes.toString("hex").toUpperCase()),
      ...[0, 1, 2].map((offset) => ({ bytes: base64At(offset, bytes) })),
    ];
  }

  isIn(haystack: Buffer): boolean {
    return this.#forms.some((form) => {
      for (let at = haystack.indexOf(form.bytes); at >= 0; at = haystack.indexOf(form.bytes, at + 1)) {
        if (!isHarmless(form, haystack, at)) return true;
      }
      return false;
    });
  }
}

/** One side is enough: what a file format puts between its pages may be on the other. */
function isHarmless({ bytes, before, after }: Form, haystack: Buffer, at: number): boolean {
  if (before === undefined || after === undefined) return false;
  const end = at + bytes.length;
  return (
    haystack.subarray(Math.max(0, at - before.length), at).equals(before) ||
    haystack.subarray(end, end + after.length).equals(after)
  );
}

/** The characters that `bytes` alone determine in the base64 of a text that has them at `offset` from a multiple of 3. */
function base64At(offset: number, bytes: Buffer): Buffer {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
  return Buffer.from(text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6)));
}

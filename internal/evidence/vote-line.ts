// The line of a vote, read from its bytes. Nearly every line of the evidence is one, and with a JSON parser, a schema and
// the check that it is in its one written form, reading them would be most of the work on a segment.
import type { VoteRecord } from "../ballot/record.ts";
import { utf8 } from "../core/bytes.ts";
import { MAX_SHARDS, sequence, shardId } from "../core/ids.ts";
import { asHash, HASH_SIZE } from "../core/sha256.ts";

const SHARD = utf8('{"type":"vote","shard":');
const SEQUENCE = utf8(',"sequence":');
const VOTER = utf8(',"voter":"');
const REVISION = utf8('","revision":');
const CHOICE = utf8(',"choice":"');
const CAST_AT = utf8('","cast_at":');
const HASH = utf8(',"hash":"');
const END = utf8('"}');

const NO_DIGIT = 0xff;

/** What a byte stands for as a digit of base64 (RFC 4648 section 4), and of lower-case hex; NO_DIGIT for any other. */
const BASE64 = digits("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
const HEX = digits("0123456789abcdef");
const [QUOTE, PAD, ZERO] = [0x22, 0x3d, 0x30];

/** How many digits always are a safe integer. Times in microseconds have sixteen from the year 2001 to 2255. */
const SAFE_DIGITS = 16;

/**
 * The record in a vote's line, which `text` has from `start` to before `end`. Undefined for any other line, and for one that
 * is not exactly as `writeLine` writes a vote: what is wrong with that, the strict reader of any line says.
 */
export function readVoteLine(text: Uint8Array, start: number, end: number): VoteRecord | undefined {
  const line = new Cursor(text, start, end);
  line.literal(SHARD);
  const shard = line.integer();
  line.literal(SEQUENCE);
  const number = line.integer();
  line.literal(VOTER);
  const voterPseudonym = line.base64();
  line.literal(REVISION);
  const revision = line.integer();
  line.literal(CHOICE);
  const sealedChoice = line.base64();
  line.literal(CAST_AT);
  const castAt = line.integer();
  line.literal(HASH);
  const hash = line.hex(HASH_SIZE);
  line.literal(END);
  if (!line.isRead || shard >= MAX_SHARDS || number < 1 || revision < 1 || revision > 0xffff_ffff)
    return undefined;
  return {
    shard: shardId(shard),
    sequence: sequence(number),
    voterPseudonym,
    revision,
    sealedChoice,
    castAt,
    hash: asHash(hash),
  };
}

const NOTHING = new Uint8Array(0);

/** Reads one thing after another. After the first that is not there, it is lost: what it answers means nothing. */
class Cursor {
  readonly #text: Uint8Array;
  readonly #end: number;
  #at: number;
  #lost = false;

  constructor(text: Uint8Array, start: number, end: number) {
    this.#text = text;
    this.#at = start;
    this.#end = end;
  }

  /** Whether everything was there, and nothing follows. */
  get isRead(): boolean {
    return !this.#lost && this.#at === this.#end;
  }

  literal(bytes: Uint8Array): void {
    const at = this.#at;
    for (let i = 0; i < bytes.length; i++) if (this.#text[at + i] !== bytes[i]) this.#lost = true;
    this.#at = at + bytes.length;
  }

  /** A non-negative safe integer without leading zeros. */
  integer(): number {
    const first = this.#at;
    let value = 0;
    for (let digit = this.#digit(); digit >= 0 && digit <= 9; digit = this.#digit()) {
      value = 10 * value + digit;
      this.#at++;
    }
    const digits = this.#at - first;
    const isCanonical = digits === 1 || (digits > 1 && this.#text[first] !== ZERO);
    if (!isCanonical || digits > SAFE_DIGITS || !Number.isSafeInteger(value)) this.#lost = true;
    return value;
  }

  #digit(): number {
    return (this.#text[this.#at] ?? 0) - ZERO;
  }

  /** Bytes in padded base64, up to a quote. */
  base64(): Uint8Array {
    const text = this.#text;
    const first = this.#at;
    let quote = first;
    while (quote < this.#end && text[quote] !== QUOTE) quote++;
    this.#at = quote;
    if (this.#lost || (quote - first) % 4 !== 0) {
      this.#lost = true;
      return NOTHING;
    }
    let last = quote;
    while (last > first && last > quote - 2 && text[last - 1] === PAD) last--;
    const bytes = new Uint8Array(Math.floor(((last - first) * 3) / 4));
    let [bits, held, to, invalid] = [0, 0, 0, 0];
    for (let at = first; at < last; at++) {
      const digit = BASE64[text[at] ?? 0] ?? NO_DIGIT;
      invalid |= digit & 0xc0;
      bits = ((bits << 6) | digit) & 0xffff;
      held += 6;
      if (held < 8) continue;
      held -= 8;
      bytes[to++] = bits >> held;
    }
    // What the last digit has beyond the last byte is zero, or a second text would stand for the same bytes.
    if (invalid !== 0 || (bits & ((1 << held) - 1)) !== 0) this.#lost = true;
    return bytes;
  }

  hex(size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    let invalid = 0;
    for (let i = 0; i < size; i++) {
      const [high, low] = [this.#hexDigit(), this.#hexDigit()];
      invalid |= (high | low) & 0xf0;
      bytes[i] = (high << 4) | low;
    }
    if (invalid !== 0) this.#lost = true;
    return bytes;
  }

  #hexDigit(): number {
    return HEX[this.#text[this.#at++] ?? 0] ?? NO_DIGIT;
  }
}

function digits(alphabet: string): Uint8Array {
  const values = new Uint8Array(256).fill(NO_DIGIT);
  for (let value = 0; value < alphabet.length; value++) values[alphabet.charCodeAt(value)] = value;
  return values;
}

// Byte helpers that run the same in Node and in a browser: no Buffer, no node: imports.
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";
import { base64 } from "@scure/base";

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The string whose UTF-8 encoding is `bytes`; throws a TypeError on any ill-formed sequence. */
export function decodeUtf8(bytes: Uint8Array): string {
  return strictDecoder.decode(bytes);
}

/** One new array holding all parts in order. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

/** Byte-for-byte equality. Not constant time: use it for public data only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return bytesToHex(bytes);
}

/** Bytes of a hexadecimal string; throws on anything else. */
export function fromHex(text: string): Uint8Array {
  return hexToBytes(text);
}

/** Standard base64 with padding (RFC 4648 section 4). */
export function toBase64(bytes: Uint8Array): string {
  return base64.encode(bytes);
}

/**
 * Bytes of a standard, padded base64 string in its one canonical form. Throws on white space, missing padding or
 * non-zero trailing bits, any of which would let two texts stand for the same bytes.
 */
export function fromBase64(text: string): Uint8Array {
  return base64.decode(text);
}

/** The two bytes of a u16, big-endian. */
export function u16(value: number): Uint8Array {
  const out = new Uint8Array(2);
  new DataView(out.buffer).setUint16(0, value);
  return out;
}

/** The eight bytes of a u64, big-endian. `value` is a safe integer, so its upper 11 bits are always zero. */
export function u64(value: number): Uint8Array {
  const out = new Uint8Array(8);
  writeU64(new DataView(out.buffer), 0, value);
  return out;
}

/** Writes a non-negative safe integer as a big-endian u64. Two u32 halves: no BigInt is allocated. */
export function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, Math.floor(value / 0x1_0000_0000));
  view.setUint32(offset + 4, value >>> 0);
}

/** Reads a big-endian u64; throws a RangeError above 2^53 − 1, which no count in this system reaches. */
export function readU64(view: DataView, offset: number): number {
  const value = view.getUint32(offset) * 0x1_0000_0000 + view.getUint32(offset + 4);
  if (!Number.isSafeInteger(value)) throw new RangeError("u64 above 2^53 - 1");
  return value;
}

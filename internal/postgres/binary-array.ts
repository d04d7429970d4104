// One-dimensional array parameters in Postgres's binary format, which array_recv reads (arrayfuncs.c):
//
//   i32 dimensions = 1 ‖ i32 has nulls = 0 ‖ u32 element type ‖ i32 length ‖ i32 first index = 1 ‖ (i32 size ‖ element)…
//
// pg's own encoding of an array is text, in which every byte of a bytea becomes two digits on this side and is parsed
// again on the other. pg sends a Buffer as a binary parameter, so all that is needed is the Buffer.

/** Element types: pg_type.dat. */
const BYTEA = 17;
const INT8 = 20;
const INT2 = 21;
const INT4 = 23;

const HEADER_SIZE = 20;

export function byteaArray(items: readonly Uint8Array[]): Buffer {
  let size = 0;
  for (const item of items) size += 4 + item.length;
  const out = header(BYTEA, items.length, size);
  let at = HEADER_SIZE;
  for (const item of items) {
    at = out.writeInt32BE(item.length, at);
    out.set(item, at);
    at += item.length;
  }
  return out;
}

export function int2Array(items: readonly number[]): Buffer {
  const out = header(INT2, items.length, items.length * 6);
  let at = HEADER_SIZE;
  for (const item of items) at = out.writeInt16BE(item, out.writeInt32BE(2, at));
  return out;
}

export function int4Array(items: readonly number[]): Buffer {
  const out = header(INT4, items.length, items.length * 8);
  let at = HEADER_SIZE;
  for (const item of items) at = out.writeInt32BE(item, out.writeInt32BE(4, at));
  return out;
}

/** Of non-negative safe integers. */
export function int8Array(items: readonly number[]): Buffer {
  const out = header(INT8, items.length, items.length * 12);
  let at = HEADER_SIZE;
  for (const item of items) {
    at = out.writeInt32BE(8, at);
    at = out.writeUInt32BE(Math.floor(item / 0x1_0000_0000), at);
    at = out.writeUInt32BE(item >>> 0, at);
  }
  return out;
}

function header(elementType: number, length: number, size: number): Buffer {
  const out = Buffer.allocUnsafe(HEADER_SIZE + size);
  out.writeInt32BE(1, 0);
  out.writeInt32BE(0, 4);
  out.writeInt32BE(elementType, 8);
  out.writeInt32BE(length, 12);
  out.writeInt32BE(1, 16);
  return out;
}

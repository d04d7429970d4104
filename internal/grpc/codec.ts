import { isUtf8 } from "node:buffer";
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { ServiceError } from "../core/errors.ts";

/** A message's bytes, as the Buffer grpc-js wants, over the same memory. */
export function encode<M extends DescMessage>(schema: M, init: MessageInitShape<M>): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(schema, create(schema, init));
  return Buffer.from(buffer, byteOffset, byteLength);
}

/**
 * The message in a frame. Its `bytes` fields are views of the frame, at most 4 MiB that stay in memory as long as one
 * of them does: copy what outlives the call.
 */
export function decode<M extends DescMessage>(schema: M, frame: Buffer): MessageShape<M> {
  // A Buffer would hand out Buffers, whose slice() is a view where a Uint8Array's is a copy.
  return fromBinary(schema, new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength));
}

/**
 * `decode` for what a caller sent: bytes that are not the message are the caller's mistake. A string that is not UTF-8,
 * which protobuf forbids and the library refuses without saying where, is found again to name its field.
 */
export function decodeRequest<M extends DescMessage>(schema: M, frame: Buffer): MessageShape<M> {
  try {
    return decode(schema, frame);
  } catch (cause) {
    const field = fieldNotUtf8(schema, frame);
    throw new ServiceError(
      "invalid-argument",
      field === undefined ? `the request is not a ${schema.name}` : `${field}: not UTF-8`,
      {
        reason: field === undefined ? "MALFORMED_REQUEST" : "INVALID_FIELD",
        fields: field === undefined ? [] : [{ field, description: "not UTF-8" }],
        cause,
      },
    );
  }
}

/** The path of the first string in `bytes` that is not UTF-8, such as `votes[3].voter_id`. */
function fieldNotUtf8(schema: DescMessage, bytes: Uint8Array): string | undefined {
  try {
    const reader = new BinaryReader(bytes);
    const counts = new Map<number, number>();
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      const field = schema.fields.find((f) => f.number === number);
      if (field === undefined || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, number);
        continue;
      }
      const value = reader.bytes();
      const index = counts.get(number) ?? 0;
      counts.set(number, index + 1);
      const name = field.fieldKind === "list" ? `${field.name}[${index}]` : field.name;
      if (isString(field) && !isUtf8(value)) return name;
      const inner = field.message && fieldNotUtf8(field.message, value);
      if (inner !== undefined) return `${name}.${inner}`;
    }
  } catch {
    // Not even fields: then no field is to blame.
  }
  return undefined;
}

function isString(field: DescField): boolean {
  return (field.fieldKind === "scalar" || field.fieldKind === "list") && field.scalar === ScalarType.STRING;
}

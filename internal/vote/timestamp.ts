/** google.protobuf.Timestamp of microseconds since 1970, which stay below 2^53 until the year 2255. */
export function timestampOf(micros: bigint): { seconds: bigint; nanos: number } {
  const value = Number(micros);
  const seconds = Math.floor(value / 1_000_000);
  return { seconds: BigInt(seconds), nanos: (value - seconds * 1_000_000) * 1_000 };
}

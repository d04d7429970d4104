// Which subtrees a proof is made of. A proof is a list of hashes; here it is a list of entry ranges, so that the same
// recursion serves whoever can hash a range. Sizes reach 2^53 − 1, where JavaScript's 32-bit operators do not.

/** The entries `start` to `end − 1`, as in RFC 6962's D[start:end]. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A subtree of 2^height entries, the `index`-th of that height from the left. */
export interface CompleteSubtree {
  readonly height: number;
  readonly index: number;
}

/** The audit path of RFC 6962 section 2.1.1, leaf's sibling first. The caller has checked that 0 ≤ index < size. */
export function inclusionRanges(index: number, size: number): Range[] {
  const path: Range[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitPoint(end - start);
    if (index < middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  return path.reverse();
}

/** The consistency proof of RFC 6962 section 2.1.2. The caller has checked that 0 < oldSize ≤ newSize. */
export function consistencyRanges(oldSize: number, newSize: number): Range[] {
  const path: Range[] = [];
  let start = 0;
  let end = newSize;
  while (end !== oldSize) {
    const middle = start + splitPoint(end - start);
    if (oldSize <= middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  // The verifier knows the old root, which is this subtree when it begins at 0 (SUBPROOF's `b`).
  if (start > 0) path.push({ start, end });
  return path.reverse();
}

/** The complete subtrees that make up a range of a proof, largest first. */
export function completeSubtrees(range: Range): CompleteSubtree[] {
  const parts: CompleteSubtree[] = [];
  let { start } = range;
  while (start < range.end) {
    const height = bitLength(range.end - start) - 1;
    parts.push({ height, index: start / 2 ** height });
    start += 2 ** height;
  }
  return parts;
}

/** The largest power of two smaller than `size`, for size ≥ 2: RFC 6962's k. */
function splitPoint(size: number): number {
  return 2 ** (bitLength(size - 1) - 1);
}

/** How many bits a safe integer takes. Math.log2 rounds up near 2^53. */
function bitLength(value: number): number {
  const high = Math.floor(value / 0x1_0000_0000);
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value);
}

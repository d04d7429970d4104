"""Proofs of a Merkle tree (RFC 6962, verified as in RFC 9162 sections 2.1.3.2 and 2.1.4.2)."""

import hashlib
from collections.abc import Sequence

from checkpoint import VerificationError


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """That the tree of `size` entries with this root has `leaf` at `index`."""
    if index >= size:
        raise VerificationError(f"index {index} is not in a log of {size} entries")
    node, last, hash = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError("the inclusion proof is too long")
        if node & 1 or node == last:
            hash = node_hash(sibling, hash)
            while not node & 1 and node:  # Levels where the node has no sibling.
                node, last = node >> 1, last >> 1
        else:
            hash = node_hash(hash, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or hash != root:
        raise VerificationError("the entry is not in the log")


def check_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """That the tree of `new_size` entries begins with that of `old_size`."""
    if not 0 < old_size < new_size:
        raise VerificationError(f"a log of {new_size} entries does not come after one of {old_size}")
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # A complete tree: its root is where the proof begins.
        path.insert(0, old_root)
    if not path:
        raise VerificationError("the consistency proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for hash in path[1:]:
        if last == 0:
            raise VerificationError("the consistency proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(hash, old), node_hash(hash, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, hash)
        node, last = node >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise VerificationError(f"the log of {new_size} entries does not continue that of {old_size}")

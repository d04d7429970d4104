"""Receipts: .tlog-proof files (https://c2sp.org/tlog-proof; docs/spec.md, Receipt)."""

import base64
import struct
from dataclasses import dataclass

from checkpoint import Checkpoint, LogKey, VerificationError, decode_base64, open_checkpoint, parse_count, parse_hash
from merkle import check_inclusion, leaf_hash
from mesh import Mesh
from psephos.audit.v1.audit_pb2 import GetInclusionProofRequest

HEADER = "c2sp.org/tlog-proof@v1"
MAX_CHARACTERS = 1 << 20
VOTE = 2
ENTRY = struct.Struct(">BHQ32s")  # 0x02, shard, sequence, record hash


@dataclass(frozen=True)
class Receipt:
    """What a .tlog-proof file proves: that a vote is in the log. It says nothing of how the vote was cast."""

    index: int
    # The vote's shard, sequence and record hash (docs/spec.md, Log entry).
    entry: bytes
    log: Checkpoint

    @property
    def record_hash(self) -> bytes:
        """The hash that CastVote answered with. It covers the vote's number, so who has the hash knows the vote."""
        return self._vote()[3]

    @property
    def position(self) -> tuple[int, int]:
        """The vote's shard, and its place in that shard's chain."""
        _, shard, sequence, _ = self._vote()
        return shard, sequence

    def _vote(self) -> tuple[int, int, int, bytes]:
        if len(self.entry) != ENTRY.size or self.entry[0] != VOTE:
            raise VerificationError("receipt: the entry is no vote")
        kind, shard, sequence, record_hash = ENTRY.unpack(self.entry)
        return kind, shard, sequence, record_hash


def open_receipt(text: str, log: LogKey) -> Receipt:
    """Verifies a .tlog-proof file with the log's key alone."""
    if len(text) > MAX_CHARACTERS:
        raise VerificationError("receipt: it is too long")
    head, _, note = text.partition("\n\n")
    header, *fields = head.split("\n")
    if header != HEADER or len(fields) < 2:
        raise VerificationError(f"receipt: it is no {HEADER} with an entry and its index")
    extra, index_line, *hashes = fields
    entry = decode_base64(value(extra, "extra "))
    index = parse_count(value(index_line, "index "))
    proof = [parse_hash(line) for line in hashes]
    checkpoint = open_checkpoint(note, log)
    check_inclusion(leaf_hash(entry), index, checkpoint.size, proof, checkpoint.root)
    return Receipt(index, entry, checkpoint)


def value(line: str, name: str) -> str:
    if not line.startswith(name):
        raise VerificationError(f"receipt: there is no line {name!r}")
    return line.removeprefix(name)


def receipt_of(mesh: Mesh, vote: int, checkpoint: Checkpoint) -> str:
    """Asks for the proof that a vote is in the log of a checkpoint, and makes a .tlog-proof file of it, to be verified.

    NOT_FOUND and INVALID_ARGUMENT say that the vote is not among the checkpoint's entries: a later one has it.
    """
    request = GetInclusionProofRequest(election_id=mesh.election, vote_id=vote, tree_size=checkpoint.size)
    answer = mesh.audit.GetInclusionProof(request, timeout=10)
    extra, *hashes = (base64.b64encode(data).decode() for data in (answer.entry, *answer.proof))
    return "\n".join([HEADER, f"extra {extra}", f"index {answer.index}", *hashes, "", checkpoint.note])

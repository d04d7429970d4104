"""Watching a log: each new checkpoint, once it is proven to continue the one before."""

import time
from collections.abc import Iterator

import grpc

from cast import TRANSIENT
from checkpoint import Checkpoint, LogKey, VerificationError, open_checkpoint
from merkle import check_consistency
from mesh import Mesh
from psephos.audit.v1.audit_pb2 import GetConsistencyProofRequest
from psephos.digest.v1.digest_pb2 import GetLatestCheckpointRequest

POLL_INTERVAL = 0.5
CALL_TIMEOUT = 10.0


def checkpoints(mesh: Mesh, log: LogKey) -> Iterator[Checkpoint]:
    """Yields each new checkpoint of the log that is seen. What is only unavailable is asked again.

    Raises a VerificationError when the log is forked, shrinks, or is not signed by its key.
    """
    last: Checkpoint | None = None
    while True:
        try:
            newest = latest(mesh, log)
            if last is not None:
                check_continues(mesh, last, newest)
            if last is None or newest.size > last.size:
                yield newest
                last = newest
        except grpc.RpcError as error:
            if error.code() not in TRANSIENT | {grpc.StatusCode.NOT_FOUND}:  # None is published yet.
                raise
        time.sleep(POLL_INTERVAL)


def latest(mesh: Mesh, log: LogKey) -> Checkpoint:
    request = GetLatestCheckpointRequest(election_id=mesh.election)
    return open_checkpoint(mesh.digests.GetLatestCheckpoint(request, timeout=CALL_TIMEOUT).note, log)


def check_continues(mesh: Mesh, last: Checkpoint, newest: Checkpoint) -> None:
    """That the log of `newest` begins with the log of `last`."""
    if (newest.size, newest.root) == (last.size, last.root):
        return
    if newest.size < last.size:
        raise VerificationError(f"the log shrank from {last.size} to {newest.size} entries")
    if newest.size == last.size:
        raise VerificationError(f"the log is forked: two roots of {last.size} entries")
    sizes = GetConsistencyProofRequest(election_id=mesh.election, old_size=last.size, new_size=newest.size)
    answer = mesh.audit.GetConsistencyProof(sizes, timeout=CALL_TIMEOUT)
    check_consistency(last.size, last.root, newest.size, newest.root, answer.proof)

"""Watching a log: each new checkpoint, once it is proven to continue the one before."""

import time
from collections.abc import Iterator

import grpc

from cast import FIRST_DELAY, TRANSIENT, retry_delay
from checkpoint import Checkpoint, LogKey, VerificationError, open_checkpoint
from merkle import check_consistency
from mesh import Mesh
from psephos.digest.v1.digest_pb2 import GetConsistencyProofRequest, WatchRequest

CALL_TIMEOUT = 10.0


def checkpoints(mesh: Mesh, log: LogKey) -> Iterator[Checkpoint]:
    """Yields each new checkpoint of the log. A stream that breaks is begun again.

    Raises a VerificationError when the log is forked, shrinks, or is not signed by its key.
    """
    last: Checkpoint | None = None
    failures = 0
    while True:
        stream = mesh.digests.Watch(WatchRequest(election_id=mesh.election))
        try:
            for answer in stream:
                newest = open_checkpoint(answer.note, log)
                if last is not None:
                    check_continues(mesh, last, newest)
                failures = 0
                if last is None or newest.size > last.size:  # The same comes again to show that the stream lives.
                    yield newest
                    last = newest
            delay = FIRST_DELAY  # The Publisher stops.
        except grpc.RpcError as error:
            if error.code() not in TRANSIENT | {grpc.StatusCode.NOT_FOUND}:  # None is published yet.
                raise
            failures += 1
            delay = retry_delay(error, failures)
        finally:
            stream.cancel()
        time.sleep(delay)


def check_continues(mesh: Mesh, last: Checkpoint, newest: Checkpoint) -> None:
    """That the log of `newest` begins with the log of `last`."""
    if (newest.size, newest.root) == (last.size, last.root):
        return
    if newest.size < last.size:
        raise VerificationError(f"the log shrank from {last.size} to {newest.size} entries")
    if newest.size == last.size:
        raise VerificationError(f"the log is forked: two roots of {last.size} entries")
    sizes = GetConsistencyProofRequest(election_id=mesh.election, first=last.size, second=newest.size)
    answer = mesh.digests.GetConsistencyProof(sizes, timeout=CALL_TIMEOUT)
    check_consistency(last.size, last.root, newest.size, newest.root, answer.proof)

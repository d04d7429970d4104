"""Casting a vote once, however often it has to be sent."""

import random
import time

import grpc
from google.rpc import error_details_pb2, status_pb2

from mesh import Mesh
from psephos.vote.v1.vote_pb2 import CastVoteRequest, CastVoteResponse

ATTEMPTS = 6
CALL_TIMEOUT = 10.0
FIRST_DELAY = 0.1
MAX_DELAY = 10.0

# What another attempt can mend. Everything else is an answer: ALREADY_EXISTS (the voter has voted, with another request
# id), FAILED_PRECONDITION (before opening or after closing), INVALID_ARGUMENT and so on.
TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


def cast(mesh: Mesh, voter: str, candidate: str, request: str) -> CastVoteResponse:
    """Records one vote. Raises a grpc.RpcError when it is refused, or cannot be cast.

    A call that failed may have been carried out, and only its answer be lost; with the same request id the first answer
    comes again. So the request id belongs to the intended vote, not to the attempt: a program that may be restarted
    stores it before it calls, and repeats with the one that it stored.
    """
    vote = CastVoteRequest(election_id=mesh.election, voter_id=voter, request_id=request, candidate_id=candidate)
    for attempt in range(1, ATTEMPTS):
        try:
            return mesh.votes.CastVote(vote, timeout=CALL_TIMEOUT)
        except grpc.RpcError as error:
            if error.code() not in TRANSIENT:
                raise
            time.sleep(retry_delay(error, attempt))
    return mesh.votes.CastVote(vote, timeout=CALL_TIMEOUT)


def retry_delay(error: grpc.RpcError, attempt: int) -> float:
    """What the server asks for (google.rpc.RetryInfo), or else a delay that doubles each time.

    Up to half as much is added at random, so that those who failed together do not come back together.
    """
    delay: float = FIRST_DELAY * 2 ** min(attempt - 1, 8)
    info = error_details_pb2.RetryInfo()
    for detail in details(error).details:
        if detail.Unpack(info):
            delay = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    delay = min(max(delay, FIRST_DELAY), MAX_DELAY)
    return delay + random.uniform(0, delay / 2)


def reason(error: grpc.RpcError) -> str:
    """The constant that says why a call was refused, such as "ALREADY_VOTED"; empty when there is none."""
    info = error_details_pb2.ErrorInfo()
    for detail in details(error).details:
        detail.Unpack(info)
    return str(info.reason)


def details(error: grpc.RpcError) -> status_pb2.Status:
    """What is known of an error beside its code."""
    trailers = {trailer.key: trailer.value for trailer in error.trailing_metadata() or ()}
    return status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))

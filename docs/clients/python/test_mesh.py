"""Against a deployment that runs, with an open election that has the choice "ada". internal/integration starts one."""

import dataclasses
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from cast import cast, reason
from mesh import Mesh, Profile
from main import log_key
from psephos.vote.v1.vote_pb2 import CastVoteRequest
from receipt import open_receipt, receipt_of
from watch import checkpoints

PROFILE = os.environ.get("PSEPHOS_PROFILE")
pytestmark = pytest.mark.skipif(PROFILE is None, reason="PSEPHOS_PROFILE names no deployment")


@pytest.fixture
def profile() -> Profile:
    assert PROFILE is not None
    return Profile.read(PROFILE)


@pytest.fixture
def mesh(profile: Profile) -> Iterator[Mesh]:
    with Mesh(profile) as mesh:
        yield mesh


def fresh(kind: str) -> str:
    return f"{kind} {uuid.uuid4()}"


class Lost(grpc.RpcError):
    """What a call ends with when its connection breaks."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Unreliable(grpc.UnaryUnaryClientInterceptor):
    """A network that loses the first request, and then an answer, to a call that the server has carried out."""

    calls = 0

    def intercept_unary_unary(self, invoke: Callable[..., Any], details: Any, request: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            raise Lost()
        answer = invoke(details, request)
        if self.calls == 2 and answer.code() is grpc.StatusCode.OK:
            raise Lost()
        return answer


def test_cast_once(profile: Profile, mesh: Mesh) -> None:
    voter, request = fresh("voter"), fresh("request")
    network = Unreliable()
    with Mesh(profile, interceptors=[network]) as unreliable:
        vote = cast(unreliable, voter, "ada", request)
    assert network.calls == 3
    again = cast(mesh, voter, "ada", request)
    assert (again.vote_id, again.record_hash) == (vote.vote_id, vote.record_hash)

    with pytest.raises(grpc.RpcError) as refused:
        cast(mesh, voter, "ada", fresh("request"))
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert reason(refused.value) == "ALREADY_VOTED"

    with pytest.raises(grpc.RpcError) as refused:
        cast(mesh, fresh("voter"), "nobody", fresh("request"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_server_is_who_it_should_be(profile: Profile) -> None:
    # The Publisher has a certificate of the same authority.
    with Mesh(dataclasses.replace(profile, edge=profile.publisher)) as mesh:
        with pytest.raises(grpc.RpcError) as refused:
            mesh.votes.CastVote(CastVoteRequest(election_id=mesh.election), timeout=30)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "Hostname Verification Check failed" in (refused.value.details() or "")


def test_receipts_of_votes(mesh: Mesh) -> None:
    """Two votes, so that a later checkpoint has to continue an earlier one."""
    log = log_key(mesh, None)
    waiting = iter([fresh("voter"), fresh("voter")])
    vote = cast(mesh, next(waiting), "ada", fresh("request"))
    for checkpoint in checkpoints(mesh, log):
        try:
            text = receipt_of(mesh, vote.vote_id, checkpoint)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
            continue  # Not in this one.
        assert open_receipt(text, log).record_hash == vote.record_hash
        voter = next(waiting, None)
        if voter is None:
            return
        vote = cast(mesh, voter, "ada", fresh("request"))

"""Connections to the services of a deployment, over mutual TLS."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import grpc

from psephos.audit.v1.audit_pb2_grpc import AuditServiceStub
from psephos.digest.v1.digest_pb2_grpc import DigestServiceStub
from psephos.vote.v1.vote_pb2_grpc import VoteServiceStub


@dataclass(frozen=True)
class Profile:
    """Where a deployment is and who we are there. `npm start` writes one to .psephos/profile.json."""

    # The gRPC addresses, host:port, of VoteService, AuditService and the Publisher.
    edge: str
    audit: str
    publisher: str
    # Paths of PEM files: whom to trust, our certificate, and its private key.
    ca: str
    cert: str
    key: str
    election: str = ""

    @classmethod
    def read(cls, path: str) -> "Profile":
        profile = json.loads(Path(path).read_text())
        places = {name: profile[name] for name in ("edge", "audit", "publisher")}
        return cls(**places, **profile["identities"]["client"], election=profile.get("election", ""))

    def dial(self, address: str, service: str) -> grpc.Channel:
        """A channel, connected when it is first used, to whoever proves to be `service`, such as "vote-service".

        An address says where a peer is, not who. gRPC's core compares DNS names only, so it is asked for the one that
        only the service's own certificate has beside its SPIFFE ID.
        """
        credentials = grpc.ssl_channel_credentials(
            root_certificates=Path(self.ca).read_bytes(),
            private_key=Path(self.key).read_bytes(),
            certificate_chain=Path(self.cert).read_bytes(),
        )
        options = [
            ("grpc.ssl_target_name_override", service),
            ("grpc.keepalive_time_ms", 30_000),  # Ends a stream whose peer is gone.
        ]
        return grpc.secure_channel(address, credentials, options)


class Mesh:
    """The services of a deployment, and one election there. A context manager: it closes its connections."""

    def __init__(
        self,
        profile: Profile,
        election: str = "",
        interceptors: Sequence[grpc.UnaryUnaryClientInterceptor] = (),
    ) -> None:
        """`election` is the profile's unless given; the interceptors are for the channel to VoteService."""
        self.election = election or profile.election
        self._channels = ExitStack()
        votes = self._dial(profile, profile.edge, "vote-service")
        self.votes = VoteServiceStub(grpc.intercept_channel(votes, *interceptors))
        self.digests = DigestServiceStub(self._dial(profile, profile.publisher, "publisher"))
        self.audit = AuditServiceStub(self._dial(profile, profile.audit, "audit-service"))

    def _dial(self, profile: Profile, address: str, service: str) -> grpc.Channel:
        return self._channels.enter_context(profile.dial(address, service))

    def __enter__(self) -> "Mesh":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._channels.close()

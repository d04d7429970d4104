import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VoteStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VOTE_STATUS_UNSPECIFIED: _ClassVar[VoteStatus]
    VOTE_STATUS_RECORDED: _ClassVar[VoteStatus]
    VOTE_STATUS_SEALED: _ClassVar[VoteStatus]
VOTE_STATUS_UNSPECIFIED: VoteStatus
VOTE_STATUS_RECORDED: VoteStatus
VOTE_STATUS_SEALED: VoteStatus

class CastVoteRequest(_message.Message):
    __slots__ = ("election_id", "voter_id", "request_id", "candidate_id", "sealed_choice")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    VOTER_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_ID_FIELD_NUMBER: _ClassVar[int]
    SEALED_CHOICE_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    voter_id: str
    request_id: str
    candidate_id: str
    sealed_choice: bytes
    def __init__(self, election_id: _Optional[str] = ..., voter_id: _Optional[str] = ..., request_id: _Optional[str] = ..., candidate_id: _Optional[str] = ..., sealed_choice: _Optional[bytes] = ...) -> None: ...

class CastVoteResponse(_message.Message):
    __slots__ = ("vote_id", "status", "cast_at", "record_hash", "revision", "promise")
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_FIELD_NUMBER: _ClassVar[int]
    RECORD_HASH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    vote_id: int
    status: VoteStatus
    cast_at: _timestamp_pb2.Timestamp
    record_hash: bytes
    revision: int
    promise: VotePromise
    def __init__(self, vote_id: _Optional[int] = ..., status: _Optional[_Union[VoteStatus, str]] = ..., cast_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., record_hash: _Optional[bytes] = ..., revision: _Optional[int] = ..., promise: _Optional[_Union[VotePromise, _Mapping]] = ...) -> None: ...

class VotePromise(_message.Message):
    __slots__ = ("entry", "index", "proof", "statement")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    index: int
    proof: _containers.RepeatedScalarFieldContainer[bytes]
    statement: bytes
    def __init__(self, entry: _Optional[bytes] = ..., index: _Optional[int] = ..., proof: _Optional[_Iterable[bytes]] = ..., statement: _Optional[bytes] = ...) -> None: ...

class CastVotesRequest(_message.Message):
    __slots__ = ("id", "vote")
    ID_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    id: int
    vote: CastVoteRequest
    def __init__(self, id: _Optional[int] = ..., vote: _Optional[_Union[CastVoteRequest, _Mapping]] = ...) -> None: ...

class CastVotesResponse(_message.Message):
    __slots__ = ("id", "vote", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    vote: CastVoteResponse
    error: _status_pb2.Status
    def __init__(self, id: _Optional[int] = ..., vote: _Optional[_Union[CastVoteResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class GetVoteRequest(_message.Message):
    __slots__ = ("election_id", "vote_id")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    vote_id: int
    def __init__(self, election_id: _Optional[str] = ..., vote_id: _Optional[int] = ...) -> None: ...

class GetVoteResponse(_message.Message):
    __slots__ = ("vote", "shard", "sequence")
    VOTE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    vote: CastVoteResponse
    shard: int
    sequence: int
    def __init__(self, vote: _Optional[_Union[CastVoteResponse, _Mapping]] = ..., shard: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ElectionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELECTION_STATE_UNSPECIFIED: _ClassVar[ElectionState]
    ELECTION_STATE_OPEN: _ClassVar[ElectionState]
    ELECTION_STATE_CLOSING: _ClassVar[ElectionState]
    ELECTION_STATE_CLOSED: _ClassVar[ElectionState]

class AppendOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    APPEND_OUTCOME_UNSPECIFIED: _ClassVar[AppendOutcome]
    APPEND_OUTCOME_RECORDED: _ClassVar[AppendOutcome]
    APPEND_OUTCOME_ALREADY_VOTED: _ClassVar[AppendOutcome]
    APPEND_OUTCOME_CLOSED: _ClassVar[AppendOutcome]
    APPEND_OUTCOME_UNAVAILABLE: _ClassVar[AppendOutcome]
    APPEND_OUTCOME_OVERLOADED: _ClassVar[AppendOutcome]
ELECTION_STATE_UNSPECIFIED: ElectionState
ELECTION_STATE_OPEN: ElectionState
ELECTION_STATE_CLOSING: ElectionState
ELECTION_STATE_CLOSED: ElectionState
APPEND_OUTCOME_UNSPECIFIED: AppendOutcome
APPEND_OUTCOME_RECORDED: AppendOutcome
APPEND_OUTCOME_ALREADY_VOTED: AppendOutcome
APPEND_OUTCOME_CLOSED: AppendOutcome
APPEND_OUTCOME_UNAVAILABLE: AppendOutcome
APPEND_OUTCOME_OVERLOADED: AppendOutcome

class Election(_message.Message):
    __slots__ = ("election_id", "manifest", "state", "created_at_micros")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    manifest: bytes
    state: ElectionState
    created_at_micros: int
    def __init__(self, election_id: _Optional[str] = ..., manifest: _Optional[bytes] = ..., state: _Optional[_Union[ElectionState, str]] = ..., created_at_micros: _Optional[int] = ...) -> None: ...

class CreateElectionRequest(_message.Message):
    __slots__ = ("manifest",)
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    manifest: bytes
    def __init__(self, manifest: _Optional[bytes] = ...) -> None: ...

class CreateElectionResponse(_message.Message):
    __slots__ = ("election",)
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    election: Election
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ...) -> None: ...

class GetElectionRequest(_message.Message):
    __slots__ = ("election_id",)
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    def __init__(self, election_id: _Optional[str] = ...) -> None: ...

class GetElectionResponse(_message.Message):
    __slots__ = ("election",)
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    election: Election
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ...) -> None: ...

class ListElectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListElectionsResponse(_message.Message):
    __slots__ = ("elections",)
    ELECTIONS_FIELD_NUMBER: _ClassVar[int]
    elections: _containers.RepeatedCompositeFieldContainer[Election]
    def __init__(self, elections: _Optional[_Iterable[_Union[Election, _Mapping]]] = ...) -> None: ...

class CloseElectionRequest(_message.Message):
    __slots__ = ("election_id",)
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    def __init__(self, election_id: _Optional[str] = ...) -> None: ...

class CloseElectionResponse(_message.Message):
    __slots__ = ("election",)
    ELECTION_FIELD_NUMBER: _ClassVar[int]
    election: Election
    def __init__(self, election: _Optional[_Union[Election, _Mapping]] = ...) -> None: ...

class Head(_message.Message):
    __slots__ = ("shard", "sequence", "hash", "cast_at_micros", "closed", "sealed_sequence")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    SEALED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    shard: int
    sequence: int
    hash: bytes
    cast_at_micros: int
    closed: bool
    sealed_sequence: int
    def __init__(self, shard: _Optional[int] = ..., sequence: _Optional[int] = ..., hash: _Optional[bytes] = ..., cast_at_micros: _Optional[int] = ..., closed: _Optional[bool] = ..., sealed_sequence: _Optional[int] = ...) -> None: ...

class NewVote(_message.Message):
    __slots__ = ("voter_pseudonym", "sealed_choice", "request_token")
    VOTER_PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    SEALED_CHOICE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    voter_pseudonym: bytes
    sealed_choice: bytes
    request_token: bytes
    def __init__(self, voter_pseudonym: _Optional[bytes] = ..., sealed_choice: _Optional[bytes] = ..., request_token: _Optional[bytes] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("election_id", "votes")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    votes: _containers.RepeatedCompositeFieldContainer[NewVote]
    def __init__(self, election_id: _Optional[str] = ..., votes: _Optional[_Iterable[_Union[NewVote, _Mapping]]] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AppendResult]
    def __init__(self, results: _Optional[_Iterable[_Union[AppendResult, _Mapping]]] = ...) -> None: ...

class AppendResult(_message.Message):
    __slots__ = ("outcome", "vote_id", "cast_at_micros", "hash", "revision")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    outcome: AppendOutcome
    vote_id: int
    cast_at_micros: int
    hash: bytes
    revision: int
    def __init__(self, outcome: _Optional[_Union[AppendOutcome, str]] = ..., vote_id: _Optional[int] = ..., cast_at_micros: _Optional[int] = ..., hash: _Optional[bytes] = ..., revision: _Optional[int] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("voter_pseudonym", "revision", "sealed_choice", "cast_at_micros", "hash")
    VOTER_PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SEALED_CHOICE_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    voter_pseudonym: bytes
    revision: int
    sealed_choice: bytes
    cast_at_micros: int
    hash: bytes
    def __init__(self, voter_pseudonym: _Optional[bytes] = ..., revision: _Optional[int] = ..., sealed_choice: _Optional[bytes] = ..., cast_at_micros: _Optional[int] = ..., hash: _Optional[bytes] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("shard", "first_sequence", "records")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    first_sequence: int
    records: _containers.RepeatedCompositeFieldContainer[Record]
    def __init__(self, shard: _Optional[int] = ..., first_sequence: _Optional[int] = ..., records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ...) -> None: ...

class RecordBatch(_message.Message):
    __slots__ = ("election_id", "runs")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    runs: _containers.RepeatedCompositeFieldContainer[Run]
    def __init__(self, election_id: _Optional[str] = ..., runs: _Optional[_Iterable[_Union[Run, _Mapping]]] = ...) -> None: ...

class ReadChainRequest(_message.Message):
    __slots__ = ("election_id", "shard", "first_sequence", "limit")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    shard: int
    first_sequence: int
    limit: int
    def __init__(self, election_id: _Optional[str] = ..., shard: _Optional[int] = ..., first_sequence: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ReadChainResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: Run
    def __init__(self, run: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...

class FindRecordsRequest(_message.Message):
    __slots__ = ("election_id", "voter_pseudonym", "after_revision", "limit")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    VOTER_PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    voter_pseudonym: bytes
    after_revision: int
    limit: int
    def __init__(self, election_id: _Optional[str] = ..., voter_pseudonym: _Optional[bytes] = ..., after_revision: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class FindRecordsResponse(_message.Message):
    __slots__ = ("shard", "records")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    records: _containers.RepeatedCompositeFieldContainer[FoundRecord]
    def __init__(self, shard: _Optional[int] = ..., records: _Optional[_Iterable[_Union[FoundRecord, _Mapping]]] = ...) -> None: ...

class FoundRecord(_message.Message):
    __slots__ = ("sequence", "revision")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    revision: int
    def __init__(self, sequence: _Optional[int] = ..., revision: _Optional[int] = ...) -> None: ...

class HeadsRequest(_message.Message):
    __slots__ = ("election_id",)
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    def __init__(self, election_id: _Optional[str] = ...) -> None: ...

class HeadsResponse(_message.Message):
    __slots__ = ("heads", "state", "guards")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[Head]
    state: ElectionState
    guards: _containers.RepeatedCompositeFieldContainer[InstanceGuards]
    def __init__(self, heads: _Optional[_Iterable[_Union[Head, _Mapping]]] = ..., state: _Optional[_Union[ElectionState, str]] = ..., guards: _Optional[_Iterable[_Union[InstanceGuards, _Mapping]]] = ...) -> None: ...

class InstanceGuards(_message.Message):
    __slots__ = ("instance", "broken")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    instance: str
    broken: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, instance: _Optional[str] = ..., broken: _Optional[_Iterable[str]] = ...) -> None: ...

class SealedShard(_message.Message):
    __slots__ = ("shard", "sequence")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    shard: int
    sequence: int
    def __init__(self, shard: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class ConfirmSealedRequest(_message.Message):
    __slots__ = ("election_id", "shards")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    shards: _containers.RepeatedCompositeFieldContainer[SealedShard]
    def __init__(self, election_id: _Optional[str] = ..., shards: _Optional[_Iterable[_Union[SealedShard, _Mapping]]] = ...) -> None: ...

class ConfirmSealedResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

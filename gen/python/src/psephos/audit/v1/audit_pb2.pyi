from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SealingState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEALING_STATE_UNSPECIFIED: _ClassVar[SealingState]
    SEALING_STATE_SEALING: _ClassVar[SealingState]
    SEALING_STATE_COMPLETE: _ClassVar[SealingState]
    SEALING_STATE_HALTED: _ClassVar[SealingState]
    SEALING_STATE_STANDBY: _ClassVar[SealingState]
    SEALING_STATE_PAUSED: _ClassVar[SealingState]
SEALING_STATE_UNSPECIFIED: SealingState
SEALING_STATE_SEALING: SealingState
SEALING_STATE_COMPLETE: SealingState
SEALING_STATE_HALTED: SealingState
SEALING_STATE_STANDBY: SealingState
SEALING_STATE_PAUSED: SealingState

class Head(_message.Message):
    __slots__ = ("election_id", "tree_size", "root", "state", "committed_at_micros", "halted_because", "waiting_because")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    HALTED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    WAITING_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    tree_size: int
    root: bytes
    state: SealingState
    committed_at_micros: int
    halted_because: str
    waiting_because: str
    def __init__(self, election_id: _Optional[str] = ..., tree_size: _Optional[int] = ..., root: _Optional[bytes] = ..., state: _Optional[_Union[SealingState, str]] = ..., committed_at_micros: _Optional[int] = ..., halted_because: _Optional[str] = ..., waiting_because: _Optional[str] = ...) -> None: ...

class GetHeadRequest(_message.Message):
    __slots__ = ("election_id",)
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    def __init__(self, election_id: _Optional[str] = ...) -> None: ...

class GetHeadResponse(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: Head
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ...) -> None: ...

class WatchHeadsRequest(_message.Message):
    __slots__ = ("election_id",)
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    def __init__(self, election_id: _Optional[str] = ...) -> None: ...

class WatchHeadsResponse(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: Head
    def __init__(self, head: _Optional[_Union[Head, _Mapping]] = ...) -> None: ...

class GetInclusionProofRequest(_message.Message):
    __slots__ = ("election_id", "index", "vote_id", "tree_size")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    index: int
    vote_id: int
    tree_size: int
    def __init__(self, election_id: _Optional[str] = ..., index: _Optional[int] = ..., vote_id: _Optional[int] = ..., tree_size: _Optional[int] = ...) -> None: ...

class GetInclusionProofResponse(_message.Message):
    __slots__ = ("index", "entry", "tree_size", "root", "proof")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    index: int
    entry: bytes
    tree_size: int
    root: bytes
    proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., entry: _Optional[bytes] = ..., tree_size: _Optional[int] = ..., root: _Optional[bytes] = ..., proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetConsistencyProofRequest(_message.Message):
    __slots__ = ("election_id", "old_size", "new_size")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    old_size: int
    new_size: int
    def __init__(self, election_id: _Optional[str] = ..., old_size: _Optional[int] = ..., new_size: _Optional[int] = ...) -> None: ...

class GetConsistencyProofResponse(_message.Message):
    __slots__ = ("new_size", "new_root", "proof")
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_ROOT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    new_size: int
    new_root: bytes
    proof: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, new_size: _Optional[int] = ..., new_root: _Optional[bytes] = ..., proof: _Optional[_Iterable[bytes]] = ...) -> None: ...

class GetRecordRequest(_message.Message):
    __slots__ = ("election_id", "index", "vote_id")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    index: int
    vote_id: int
    def __init__(self, election_id: _Optional[str] = ..., index: _Optional[int] = ..., vote_id: _Optional[int] = ...) -> None: ...

class GetRecordResponse(_message.Message):
    __slots__ = ("index", "vote_id", "shard", "sequence", "voter_pseudonym", "revision", "sealed_choice", "cast_at_micros", "hash", "segment_key")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VOTER_PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SEALED_CHOICE_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_KEY_FIELD_NUMBER: _ClassVar[int]
    index: int
    vote_id: int
    shard: int
    sequence: int
    voter_pseudonym: bytes
    revision: int
    sealed_choice: bytes
    cast_at_micros: int
    hash: bytes
    segment_key: str
    def __init__(self, index: _Optional[int] = ..., vote_id: _Optional[int] = ..., shard: _Optional[int] = ..., sequence: _Optional[int] = ..., voter_pseudonym: _Optional[bytes] = ..., revision: _Optional[int] = ..., sealed_choice: _Optional[bytes] = ..., cast_at_micros: _Optional[int] = ..., hash: _Optional[bytes] = ..., segment_key: _Optional[str] = ...) -> None: ...

class ListRecordsRequest(_message.Message):
    __slots__ = ("election_id", "first_index", "limit")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    first_index: int
    limit: int
    def __init__(self, election_id: _Optional[str] = ..., first_index: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListRecordsResponse(_message.Message):
    __slots__ = ("records", "next_index")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[SealedRecord]
    next_index: int
    def __init__(self, records: _Optional[_Iterable[_Union[SealedRecord, _Mapping]]] = ..., next_index: _Optional[int] = ...) -> None: ...

class SealedRecord(_message.Message):
    __slots__ = ("index", "vote_id", "shard", "sequence", "voter_pseudonym", "revision", "sealed_choice", "cast_at_micros", "hash", "segment_key")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    VOTE_ID_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VOTER_PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SEALED_CHOICE_FIELD_NUMBER: _ClassVar[int]
    CAST_AT_MICROS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_KEY_FIELD_NUMBER: _ClassVar[int]
    index: int
    vote_id: int
    shard: int
    sequence: int
    voter_pseudonym: bytes
    revision: int
    sealed_choice: bytes
    cast_at_micros: int
    hash: bytes
    segment_key: str
    def __init__(self, index: _Optional[int] = ..., vote_id: _Optional[int] = ..., shard: _Optional[int] = ..., sequence: _Optional[int] = ..., voter_pseudonym: _Optional[bytes] = ..., revision: _Optional[int] = ..., sealed_choice: _Optional[bytes] = ..., cast_at_micros: _Optional[int] = ..., hash: _Optional[bytes] = ..., segment_key: _Optional[str] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("election_id", "voter_pseudonym", "after_revision")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    VOTER_PSEUDONYM_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    voter_pseudonym: bytes
    after_revision: int
    def __init__(self, election_id: _Optional[str] = ..., voter_pseudonym: _Optional[bytes] = ..., after_revision: _Optional[int] = ...) -> None: ...

class GetHistoryResponse(_message.Message):
    __slots__ = ("records", "more")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[SealedRecord]
    more: bool
    def __init__(self, records: _Optional[_Iterable[_Union[SealedRecord, _Mapping]]] = ..., more: _Optional[bool] = ...) -> None: ...

class GetTurnoutRequest(_message.Message):
    __slots__ = ("election_id", "as_of_micros", "votes_only")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    AS_OF_MICROS_FIELD_NUMBER: _ClassVar[int]
    VOTES_ONLY_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    as_of_micros: int
    votes_only: bool
    def __init__(self, election_id: _Optional[str] = ..., as_of_micros: _Optional[int] = ..., votes_only: _Optional[bool] = ...) -> None: ...

class GetTurnoutResponse(_message.Message):
    __slots__ = ("shards", "votes", "voters", "tree_size")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[ShardTurnout]
    votes: int
    voters: int
    tree_size: int
    def __init__(self, shards: _Optional[_Iterable[_Union[ShardTurnout, _Mapping]]] = ..., votes: _Optional[int] = ..., voters: _Optional[int] = ..., tree_size: _Optional[int] = ...) -> None: ...

class ShardTurnout(_message.Message):
    __slots__ = ("shard", "votes", "voters")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    votes: int
    voters: int
    def __init__(self, shard: _Optional[int] = ..., votes: _Optional[int] = ..., voters: _Optional[int] = ...) -> None: ...

class ListCheckpointsRequest(_message.Message):
    __slots__ = ("election_id", "first_number", "limit")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    FIRST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    first_number: int
    limit: int
    def __init__(self, election_id: _Optional[str] = ..., first_number: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListCheckpointsResponse(_message.Message):
    __slots__ = ("checkpoints",)
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    checkpoints: _containers.RepeatedCompositeFieldContainer[VoteCheckpoint]
    def __init__(self, checkpoints: _Optional[_Iterable[_Union[VoteCheckpoint, _Mapping]]] = ...) -> None: ...

class VoteCheckpoint(_message.Message):
    __slots__ = ("number", "tree_size", "root", "checkpoint_json")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_JSON_FIELD_NUMBER: _ClassVar[int]
    number: int
    tree_size: int
    root: bytes
    checkpoint_json: bytes
    def __init__(self, number: _Optional[int] = ..., tree_size: _Optional[int] = ..., root: _Optional[bytes] = ..., checkpoint_json: _Optional[bytes] = ...) -> None: ...

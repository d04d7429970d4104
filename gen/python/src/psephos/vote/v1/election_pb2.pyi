import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
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
ELECTION_STATE_UNSPECIFIED: ElectionState
ELECTION_STATE_OPEN: ElectionState
ELECTION_STATE_CLOSING: ElectionState
ELECTION_STATE_CLOSED: ElectionState

class Election(_message.Message):
    __slots__ = ("election_id", "manifest", "manifest_hash", "state", "created_at", "votes")
    ELECTION_ID_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_HASH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    election_id: str
    manifest: bytes
    manifest_hash: bytes
    state: ElectionState
    created_at: _timestamp_pb2.Timestamp
    votes: int
    def __init__(self, election_id: _Optional[str] = ..., manifest: _Optional[bytes] = ..., manifest_hash: _Optional[bytes] = ..., state: _Optional[_Union[ElectionState, str]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., votes: _Optional[int] = ...) -> None: ...

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

class GetPromiseKeyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetPromiseKeyResponse(_message.Message):
    __slots__ = ("public_key",)
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    def __init__(self, public_key: _Optional[bytes] = ...) -> None: ...

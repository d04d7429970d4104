"""Signed checkpoints of a log (https://c2sp.org/tlog-checkpoint; docs/spec.md, Checkpoint)."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HASH_SIZE = 32
KEY_SIZE = 32
MAX_NOTE_CHARACTERS = 1_000_000
MAX_SIGNATURES = 100
ED25519 = b"\x01"
NAME = r"[^\s+]+"


class VerificationError(Exception):
    """What is claimed does not hold."""


class LogKey:
    """The key of a log, `<origin>+<key id>+<base64>` (https://c2sp.org/signed-note, Verifier keys)."""

    def __init__(self, text: str) -> None:
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise VerificationError("log key: it is not a name, a key id and a key")
        self.origin, key_id, encoded = parts
        key = decode_base64(encoded)
        # The id is a hash of the rest, so a mistyped key is noticed.
        self.id = hashlib.sha256(self.origin.encode() + b"\n" + key).digest()[:4]
        if self.id.hex() != key_id or re.fullmatch(NAME, self.origin) is None:
            raise VerificationError("log key: it is damaged")
        if key[:1] != ED25519 or len(key) != 1 + KEY_SIZE:
            raise VerificationError("log key: it is no Ed25519 key")
        self._key = Ed25519PublicKey.from_public_bytes(key[1:])

    def open(self, note: str) -> str:
        """The text of a note (https://c2sp.org/signed-note) that this key has signed."""
        if len(note) > MAX_NOTE_CHARACTERS or re.search(r"[^\n\x20-\U0010ffff]|[\ud800-\udfff]", note):
            raise VerificationError("note: it is too long, or not plain text")
        text, gap, signatures = note.rpartition("\n\n")
        lines = signatures.split("\n")
        if not gap or not text or lines.pop() != "" or not 0 < len(lines) <= MAX_SIGNATURES:
            raise VerificationError("note: it is not a text, an empty line and signatures")
        text += "\n"
        verified = False
        for line in lines:
            match = re.fullmatch(f"— ({NAME}) (.+)", line)
            if match is None:
                raise VerificationError("note: a line of its signatures is none")
            name, encoded = match.groups()
            signature = decode_base64(encoded)
            if len(signature) < 5:
                raise VerificationError("note: a signature is too short")
            # The others are of keys that we do not know, such as witnesses'.
            if name == self.origin and signature[:4] == self.id:
                self._verify(signature[4:], text)
                verified = True
        if not verified:
            raise VerificationError(f"note: {self.origin} has not signed it")
        return text

    def _verify(self, signature: bytes, text: str) -> None:
        try:
            self._key.verify(signature, text.encode())
        except InvalidSignature:
            raise VerificationError(f"note: it is not {self.origin}'s signature") from None


@dataclass(frozen=True)
class Checkpoint:
    """How large the log is and what its root is, and the note in which the log's key signs that."""

    size: int
    root: bytes
    note: str


def open_checkpoint(note: str, log: LogKey) -> Checkpoint:
    """Verifies a signed checkpoint and returns what it states."""
    lines = log.open(note).split("\n")
    if len(lines) != 4:
        raise VerificationError("checkpoint: it is not three lines")
    origin, size, root, _ = lines
    if origin != log.origin:
        raise VerificationError(f"checkpoint: it is of the log {origin!r}, not {log.origin!r}")
    return Checkpoint(parse_count(size), parse_hash(root), note)


def parse_count(text: str) -> int:
    """A decimal number from 0 to 2^53 - 1, written in the one way there is."""
    if re.fullmatch(r"0|[1-9][0-9]{0,15}", text) is None or int(text) >= 2**53:
        raise VerificationError(f"{text[:40]!r} is no count")
    return int(text)


def parse_hash(text: str) -> bytes:
    decoded = decode_base64(text)
    if len(decoded) != HASH_SIZE:
        raise VerificationError(f"{text[:60]!r} is no hash")
    return decoded


def decode_base64(text: str) -> bytes:
    """Padded base64, written in the one way there is."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if base64.b64encode(decoded).decode() != text:
        raise VerificationError(f"{text[:60]!r} is not canonical base64")
    return decoded

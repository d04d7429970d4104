"""The vectors of docs/spec.md, and what no change may leave valid."""

import base64
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from checkpoint import Checkpoint, LogKey, VerificationError, open_checkpoint
from merkle import check_consistency, check_inclusion, leaf_hash
from mesh import Mesh
from receipt import open_receipt
from watch import check_continues

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "internal" / "tlog" / "vectors.json").read_text(encoding="utf-8")
)
LOG = VECTORS["keys"]["valid"][0]
PROOFS = VECTORS["tlogProofs"]


def sign(text: str) -> str:
    """What is signed is to be refused for what it says, not for its signature."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(LOG["seed"]))
    signature = LogKey(LOG["verifierKey"]).id + key.sign(text.encode())
    return f"{text}\n— {LOG['name']} {base64.b64encode(signature).decode()}\n"


def by_format(refused: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the formats themselves refuse. The service refuses some more, which other verifiers may take."""
    return [vector for vector in refused if not vector.get("stricter")]


@pytest.mark.parametrize("vector", VECTORS["keys"]["valid"], ids=lambda vector: vector["name"])
def test_key(vector: dict[str, Any]) -> None:
    assert LogKey(vector["verifierKey"]).origin == vector["name"]


@pytest.mark.parametrize("vector", by_format(VECTORS["keys"]["refused"]), ids=lambda vector: vector["why"])
def test_refused_key(vector: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        LogKey(vector["verifierKey"])


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS["notes"]["refused"] if vector["verifierKeys"] == [LOG["verifierKey"]]],
    ids=lambda vector: vector["why"],
)
def test_refused_note(vector: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        LogKey(LOG["verifierKey"]).open(vector["note"])


@pytest.mark.parametrize("vector", VECTORS["checkpoints"]["valid"], ids=lambda vector: vector["origin"])
def test_checkpoint(vector: dict[str, Any]) -> None:
    if vector["origin"] != LOG["name"]:
        with pytest.raises(VerificationError, match="it is of the log"):
            open_checkpoint(sign(vector["text"]), LogKey(LOG["verifierKey"]))
        return
    opened = open_checkpoint(sign(vector["text"]), LogKey(LOG["verifierKey"]))
    assert (opened.size, opened.root.hex()) == (vector["size"], vector["root"])


@pytest.mark.parametrize(
    "vector", by_format(VECTORS["checkpoints"]["refused"]), ids=lambda vector: vector["why"]
)
def test_refused_checkpoint(vector: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        open_checkpoint(sign(vector["text"]), LogKey(LOG["verifierKey"]))


TREE = VECTORS["tree"]
ROOTS = [bytes.fromhex(root) for root in TREE["roots"]]
LEAVES = [leaf_hash(bytes.fromhex(entry)) for entry in TREE["entries"]]


def hashes(proof: list[str]) -> list[bytes]:
    return [bytes.fromhex(hash) for hash in proof]


def test_inclusion() -> None:
    for vector in TREE["inclusion"]:
        index, size = vector["index"], vector["size"]
        check_inclusion(LEAVES[index], index, size, hashes(vector["proof"]), ROOTS[size])
    for vector in TREE["refusedInclusion"]:
        leaf, root = bytes.fromhex(vector["leaf"]), bytes.fromhex(vector["root"])
        with pytest.raises(VerificationError):
            check_inclusion(leaf, vector["index"], vector["size"], hashes(vector["proof"]), root)


def test_consistency() -> None:
    for vector in TREE["consistency"]:
        old, new = vector["oldSize"], vector["newSize"]
        if old < new:
            check_consistency(old, ROOTS[old], new, ROOTS[new], hashes(vector["proof"]))
    for vector in TREE["refusedConsistency"]:
        old, new = (bytes.fromhex(vector[name]) for name in ("oldRoot", "newRoot"))
        with pytest.raises(VerificationError):
            check_consistency(vector["oldSize"], old, vector["newSize"], new, hashes(vector["proof"]))


@pytest.mark.parametrize(("size", "root", "problem"), [(2, 1, "shrank from 3 to 2"), (3, 2, "forked")])
def test_log_that_does_not_continue(size: int, root: int, problem: str) -> None:
    mesh = cast(Mesh, None)  # Which is not asked.
    last, newest = Checkpoint(3, bytes([1] * 32), ""), Checkpoint(size, bytes([root] * 32), "")
    check_continues(mesh, last, last)
    with pytest.raises(VerificationError, match=problem):
        check_continues(mesh, last, newest)


def with_entry(text: str, entry: str) -> str:
    """Makes a tlog-proof a receipt: its `extra` line is the entry."""
    extra = base64.b64encode(bytes.fromhex(entry)).decode()
    return re.sub(r"\A(c2sp.org/tlog-proof@v1\n)(extra [A-Za-z0-9+/=]*\n)?(?=index )", rf"\1extra {extra}\n", text)


@pytest.mark.parametrize("vector", PROOFS["valid"], ids=lambda vector: f"{vector['index']} of {vector['size']}")
def test_receipt(vector: dict[str, Any]) -> None:
    receipt = open_receipt(with_entry(vector["text"], vector["entry"]), LogKey(vector["verifierKey"]))
    assert (receipt.index, receipt.log.size) == (vector["index"], vector["size"])


BASE = PROOFS["valid"][1]  # Those that are refused are variants of it.


@pytest.mark.parametrize("vector", PROOFS["refused"], ids=lambda vector: vector["why"])
def test_refused_receipt(vector: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        open_receipt(with_entry(vector["text"], BASE["entry"]), LogKey(BASE["verifierKey"]))


def test_no_bit_of_a_receipt_can_be_changed() -> None:
    """Up to its signatures, of which those of others are ignored."""
    log = LogKey(BASE["verifierKey"])
    text = with_entry(BASE["text"], BASE["entry"]).encode()
    for at in range(text.index("\n—".encode())):
        for bit in range(8):
            changed = bytearray(text)
            changed[at] ^= 1 << bit
            with pytest.raises(VerificationError):
                open_receipt(changed.decode("utf-8", "surrogateescape"), log)

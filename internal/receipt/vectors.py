"""Writes vectors.json: promises and receipts as docs/spec.md has them, computed a second time and by nothing of the project.

    python3 vectors.py > vectors.json

It needs the package `cryptography`, for Ed25519.
"""

import base64
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def verifier_key(name, seed, algorithm=b"\x01"):
    public = algorithm + Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return f"{name}+{sha256(name.encode() + chr(10).encode() + public)[:4].hex()}+{b64(public)}"


def sign(text, key, seed):
    name, key_id, _ = key.split("+", 2)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return f"{text}\n\u2014 {name} {b64(bytes.fromhex(key_id) + signature)}\n"


# --- the manifest: that of ../ballot/vectors.json, and promises ---

LOG_SEED, PROMISE_SEED = bytes([1]) * 32, bytes([9]) * 32
manifest = json.loads((pathlib.Path(__file__).parent / "../ballot/vectors.json").read_text())["manifest"]["json"]
origin = manifest["log_key"].split("+")[0]
manifest["log_key"] = verifier_key(origin, LOG_SEED)
manifest["promise_key"] = verifier_key(f"{origin}/promise", PROMISE_SEED)
manifest["promise_delay"] = 86_400
manifest_bytes = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

# --- RFC 6962 section 2.1, word for word ---


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root(entries):
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0])
    k = split(len(entries))
    return sha256(b"\x01" + root(entries[:k]) + root(entries[k:]))


def path(m, entries):
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return path(m, entries[:k]) + [root(entries[k:])]
    return path(m - k, entries[k:]) + [root(entries[:k])]


# --- promises ---


def entry(number):
    """A vote's log entry; the hash stands for a record's."""
    return b"\x02" + struct.pack(">HQ", number % 16, number // 16 + 1) + sha256(b"record %d" % number)


def statement(entries, issued_at):
    text = "".join(
        f"{line}\n"
        for line in [
            "psephos/promise/v1", manifest["election_id"], b64(sha256(manifest_bytes)), len(entries), b64(root(entries)),
            issued_at, manifest["promise_delay"],
        ]
    )
    return sign(text, manifest["promise_key"], PROMISE_SEED)


def promise(index, entries, note):
    hashes = "".join(f"{b64(node)}\n" for node in path(index, entries))
    return f"psephos/promise-file/v1\nentry {b64(entries[index])}\nindex {index}\n{hashes}\n{note}"


promises = []
for size, indices in [(1, [0]), (2, [1]), (3, [0, 2]), (5, [2, 4]), (1000, [0, 730, 999])]:
    entries = [entry(number) for number in range(size)]
    issued_at = 1_930_000_000_000_000 + size
    note = statement(entries, issued_at)
    for index in indices:
        promises.append({
            "size": size, "index": index, "entry": entries[index].hex(), "batch_root": root(entries).hex(),
            "issued_at": issued_at, "statement": note, "file": promise(index, entries, note),
        })

# --- receipts: of a log of the manifest and five votes, cosigned by one witness ---

WITNESS, WITNESS_SEED, COSIGNED_AT = "witness.test/one", bytes([3]) * 32, 1_930_000_000
witness_key = verifier_key(WITNESS, WITNESS_SEED, b"\x04")
log = [b"\x01" + sha256(manifest_bytes)] + [entry(number) for number in range(5)]
checkpoint = f"{origin}\n{len(log)}\n{b64(root(log))}\n"
message = f"cosignature/v1\ntime {COSIGNED_AT}\n{checkpoint}"
cosignature = struct.pack(">Q", COSIGNED_AT) + Ed25519PrivateKey.from_private_bytes(WITNESS_SEED).sign(message.encode())
witness_line = f"\u2014 {WITNESS} {b64(bytes.fromhex(witness_key.split('+')[1]) + cosignature)}\n"
note = sign(checkpoint, manifest["log_key"], LOG_SEED) + witness_line

receipts = []
for index in [1, 3, 5]:
    hashes = "".join(f"{b64(node)}\n" for node in path(index, log))
    receipts.append({
        "index": index, "entry": log[index].hex(),
        "file": f"c2sp.org/tlog-proof@v1\nextra {b64(log[index])}\nindex {index}\n{hashes}\n{note}",
    })

print(json.dumps({
    "source": "internal/receipt/vectors.py (Python's hashlib and struct; cryptography for Ed25519)",
    "manifest": {"canonical": manifest_bytes.decode(), "hash": sha256(manifest_bytes).hex()},
    "log_seed": LOG_SEED.hex(), "log_key": manifest["log_key"],
    "promise_seed": PROMISE_SEED.hex(), "promise_key": manifest["promise_key"],
    "delay_seconds": manifest["promise_delay"],
    "promises": promises,
    "witness_key": witness_key, "cosigned_at": COSIGNED_AT, "log_size": len(log), "log_root": root(log).hex(),
    "receipts": receipts,
}, indent=2, ensure_ascii=False))

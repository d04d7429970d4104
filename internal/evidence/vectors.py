"""Writes vectors.json: a segment's lines and a checkpoint.json around the records of ../ballot/vectors.json, the same
segment with its votes in objects of their own, and a segment with an event.

    python3 vectors.py > vectors.json

It needs the package `cryptography`, for Ed25519. The tree roots are RFC 6962's, computed here by its recursive definition.
"""

import base64
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ballot = json.loads((pathlib.Path(__file__).parent / "../ballot/vectors.json").read_text())
SHARDS = 16


def b64(text):
    return base64.b64encode(bytes.fromhex(text)).decode()


def root(leaves):  # RFC 6962 section 2.1
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + root(leaves[:half]) + root(leaves[half:])).digest()


def genesis(shard):
    data = b"psephos/genesis/v1\n" + bytes.fromhex(ballot["manifest"]["hash"]) + shard.to_bytes(2, "big")
    return hashlib.sha256(data).hexdigest()


def head(sequence, value):
    return {"sequence": sequence, "hash": value}


election = ballot["manifest"]["json"]["election_id"]
records, last = ballot["records"], ballot["records"][-1]
before = [head(0, genesis(shard)) for shard in range(SHARDS)]
after = [head(last["sequence"], last["hash"]) if shard == last["shard"] else before[shard] for shard in range(SHARDS)]
entries = ballot["entries"]
leaves = [bytes.fromhex(entry) for entry in [entries["manifest"], *entries["votes"], entries["closing"]]]
size = len(leaves)

lines = [
    {
        "format": "psephos/segment/v1", "election_id": election, "manifest_hash": ballot["manifest"]["hash"],
        "first_index": 0, "count": size, "shard_heads": before,
        "root_before": root([]).hex(), "root_after": root(leaves).hex(),
    },
    {"type": "manifest", "hash": ballot["manifest"]["hash"]},
    *(
        {
            "type": "vote", "shard": r["shard"], "sequence": r["sequence"], "voter": b64(r["voter_pseudonym"]),
            "revision": r["revision"], "choice": b64(r["sealed_choice"]), "cast_at": r["cast_at"], "hash": r["hash"],
        }
        for r in records
    ),
    {"type": "closing", "shard_heads": after, "total": len(records)},
]
key = f"{election}/votes/checkpoint_0000000001/entries_{0:010}-{size - 1:010}.ndjson.zst"
checkpoint = {
    "format": "psephos/checkpoint/v1", "election_id": election, "number": 1, "first_index": 0, "tree_size": size,
    "tree_root": root(leaves).hex(),
    "segments": [{
        "key": key, "version_id": "v1", "sha256": "ab" * 32, "bytes": 1234, "retain_until": "2041-03-01T00:00:00.000Z",
    }],
    "last_vote_id": last["vote_id"], "last_record_hash": last["hash"], "shard_heads": after,
    "note": "psephos.test/council-2031\n6\nstands for a root\n\n\u2014 psephos.test/council-2031 c3RhbmRzIGZvciBhIHNpZ25hdHVyZQ==\n",
}


def written(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- layout object-per-vote: each vote line is an object, and the segment refers to it ---


def vote_object(line, number):
    text = written(line) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {
        "key": f"{election}/votes/checkpoint_0000000001/vote_{number}.json", "text": text,
        "reference": {"type": "vote-ref", "id": number, "version_id": f"v{number}", "sha256": digest},
    }


votes = [vote_object(line, r["vote_id"]) for line, r in zip(lines[2:-1], records)]
referring = [*lines[:2], *(vote["reference"] for vote in votes), lines[-1]]

# --- an event, alone in the segment that would follow entry 4 of the same log, were it open ---

seed = bytes([7]) * 32
name = "psephos.test/audit-service"
private = Ed25519PrivateKey.from_private_bytes(seed)
public_key = b"\x01" + private.public_key().public_bytes_raw()
key_id = hashlib.sha256(name.encode() + b"\n" + public_key).digest()[:4]
# RFC 8785 for ASCII keys in order, integers and strings without control characters is this.
details = written({"server": "stor\u00e9 1", "tried": [{"held": True, "what": "overwrite"}]})
text = f"psephos/event/v1\n{election}\nworm-probe\n1930000000500000\n{details}\n"
signature = base64.b64encode(key_id + private.sign(text.encode())).decode()
note = f"{text}\n\u2014 {name} {signature}\n"
event_hash = hashlib.sha256(note.encode()).digest()
before_event, event_leaf = leaves[:5], b"\x03" + event_hash
event_lines = [
    {
        **lines[0], "first_index": 5, "count": 1, "shard_heads": after,
        "root_before": root(before_event).hex(), "root_after": root([*before_event, event_leaf]).hex(),
    },
    {"type": "event", "note": note},
]

# --- a change of the log's key, which the old key and the new one sign ---


def note_key(name, seed):
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = b"\x01" + private.public_key().public_bytes_raw()
    key_id = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
    verifier_key = f"{name}+{key_id.hex()}+{base64.b64encode(public).decode()}"

    def line(text):
        return f"\u2014 {name} {base64.b64encode(key_id + private.sign(text.encode())).decode()}\n"

    return verifier_key, line


def change_of_key():
    origin = f"psephos.test/{election}"
    old_key, old_line = note_key(origin, bytes([8]) * 32)
    new_key, new_line = note_key(origin, bytes([9]) * 32)
    details = written({"from": old_key, "to": new_key})
    text = f"psephos/event/v1\n{election}\nkey-change\n0\n{details}\n"
    changing = f"{text}\n{old_line(text)}{new_line(text)}"
    entry = b"\x03" + hashlib.sha256(changing.encode()).digest()
    # The log is its manifest's entry and this one.
    tree_root = base64.b64encode(root([leaves[0], entry])).decode()
    head = f"{origin}\n2\n{tree_root}\n"
    checkpoint_note = f"{head}\n{new_line(head)}{old_line(head)}"
    sibling = base64.b64encode(hashlib.sha256(b"\x00" + leaves[0]).digest()).decode()
    extra = base64.b64encode(changing.encode()).decode()
    file = f"c2sp.org/tlog-proof@v1\nextra {extra}\nindex 1\n{sibling}\n\n{checkpoint_note}"
    return {"from": old_key, "to": new_key, "note": changing, "entry": entry.hex(), "file": file}


print(json.dumps({
    "source": "internal/evidence/vectors.py (Python's json and hashlib; cryptography for Ed25519) over internal/ballot/vectors.json",
    "segment": {"key": key, "lines": [written(line) for line in lines]},
    "checkpoint": written(checkpoint) + "\n",
    "object_per_vote": {
        "votes": [{"key": vote["key"], "text": vote["text"]} for vote in votes],
        "lines": [written(line) for line in referring],
    },
    "event": {
        "seed": seed.hex(), "verifier_key": f"{name}+{key_id.hex()}+{base64.b64encode(public_key).decode()}",
        "note": note, "hash": event_hash.hex(), "entry": event_leaf.hex(),
        "segment": [written(line) for line in event_lines],
    },
    "key_change": change_of_key(),
}, indent=2, ensure_ascii=False))

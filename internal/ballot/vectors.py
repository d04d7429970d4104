"""Writes vectors.json: the encodings of docs/spec.md, computed a second time and by nothing of the project.

    python3 vectors.py > vectors.json

It needs the package `cryptography`, for X25519 and AES-GCM.
"""

import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf_expand(key, info, length):  # RFC 5869 section 2.3
    out, block, step = b"", b"", 1
    while len(out) < length:
        block = mac(key, block + info + bytes([step]))
        out, step = out + block, step + 1
    return out[:length]


def b64(data):
    return base64.b64encode(data).decode()


def lp(data):
    return struct.pack(">H", len(data)) + data


def public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


# --- RFC 9180, base mode, sender's side, as far as the exporter ---

KEM_SUITE = b"KEM" + struct.pack(">H", 0x0020)
HPKE_SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0002)


def labeled_extract(suite, salt, label, ikm):
    return mac(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return hkdf_expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def hpke_export(ephemeral, recipient, info, context, length):
    """The encapsulated key and the exported secret of a sender whose ephemeral private key is given."""
    enc = public(ephemeral)
    dh = X25519PrivateKey.from_private_bytes(ephemeral).exchange(X25519PublicKey.from_public_bytes(recipient))
    eae = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh)
    shared = labeled_expand(KEM_SUITE, eae, b"shared_secret", enc + recipient, 32)
    psk_id_hash = labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(HPKE_SUITE, b"", b"info_hash", info)
    secret = labeled_extract(HPKE_SUITE, shared, b"secret", b"")
    exporter = labeled_expand(HPKE_SUITE, secret, b"exp", b"\x00" + psk_id_hash + info_hash, 32)
    return enc, labeled_expand(HPKE_SUITE, exporter, b"sec", context, length)


# The exports of RFC 9180's published test vectors for this suite, so that the code above is known to be right.
rfc9180 = {
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "skEm": "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
    "skRm": "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
    "pkRm": "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
    "enc": "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
    "exports": {
        "": "ded6cffafaea6b812cbf3e241e88332adbc077aca81512914213810ee291770a",
        "00": "04d3cb6cc116b28ffd22ad5bc276c60d31fec71ceb87ae24db811c64b7507339",
        "54657374436f6e74657874": "7c5ded445732c14fe09727d29b4251c0fd38455fe8440571e687f0886aac94d2",
    },
}
for context, value in rfc9180["exports"].items():
    inputs = (bytes.fromhex(rfc9180[name]) for name in ("skEm", "pkRm", "info"))
    enc, exported = hpke_export(*inputs, bytes.fromhex(context), 32)
    assert (enc.hex(), exported.hex()) == (rfc9180["enc"], value)

# --- the manifest ---

tally_private = sha256(b"a tally private key")
tally_public = public(tally_private)
origin = "psephos.test/council-2031"
log_key = b"\x01" + sha256(b"stands for an Ed25519 public key")
SHARDS = 16
manifest = {
    "format": "psephos/manifest/v1",
    "election_id": "council-2031",
    "title": 'Council \u201cÄrger\u201d \u20ac 2031 \\ "quoted"',
    "choices": [{"id": f"choice-{n}", "name": name} for n, name in enumerate(["Ada", "Bj\u00f6rn", "\u5f35\u5049", "\U0001f5f3"])],
    "shards": SHARDS,
    "revoting": "last-counts",
    "opens_at": 1_930_000_000_000_000,
    "closes_at": 1_930_000_043_200_000,
    "tally_key": b64(tally_public),
    "trustees": {"shares": 3, "threshold": 2},
    "log_key": f"{origin}+{sha256(origin.encode() + chr(10).encode() + log_key)[:4].hex()}+{b64(log_key)}",
}
# RFC 8785 for ASCII keys, integers and strings without control characters is this.
manifest_bytes = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
manifest_hash = sha256(manifest_bytes)

# --- voters ---

voter_secret = sha256(b"a deployment's voter secret")
voter_key = hkdf_expand(mac(manifest_hash, voter_secret), b"psephos/voter-key/v1", 32)


def pseudonym_of(voter):
    return mac(voter_key, voter.encode())


def shard_of(pseudonym):
    return struct.unpack(">I", pseudonym[:4])[0] % SHARDS


voters = []
for number, voter in enumerate(["1", "voter-0000001", "\u00c5sa \u2713", "v" * 256]):
    pseudonym, request = pseudonym_of(voter), f"request-{number}"
    token = mac(voter_key, b"psephos/request/v1\n" + pseudonym + request.encode())[:16]
    voters.append({
        "voter_id": voter, "pseudonym": pseudonym.hex(), "shard": shard_of(pseudonym),
        "request_id": request, "request_token": token.hex(),
    })

# --- sealed choices ---

info = b"psephos/sealed-choice/v1\n" + manifest_hash
ephemeral = sha256(b"an ephemeral private key")
enc, choice_key = hpke_export(ephemeral, tally_public, info, b"psephos/choice-key/v1", 32)


def seal(version, counter, choice, pseudonym):
    nonce = counter.to_bytes(12, "big")
    aad = info + (pseudonym if version == 1 else b"")
    return bytes([version]) + enc + nonce + AESGCM(choice_key).encrypt(nonce, struct.pack(">H", choice), aad)


sealed = []
for version, counter, choice, voter in [(1, 0, 0, 0), (1, 9_999, 3, 1), (2, 5, 2, 2), (1, 6, 4, 0), (1, 7, 0xFFFF, 0)]:
    pseudonym = bytes.fromhex(voters[voter]["pseudonym"])
    sealed.append({
        "pseudonym": pseudonym.hex(), "choice": choice, "sealed": seal(version, counter, choice, pseudonym).hex(),
    })

# --- records and entries ---


def genesis(shard):
    return sha256(b"psephos/genesis/v1\n" + manifest_hash + struct.pack(">H", shard))


def record_hash(previous, vote_id, pseudonym, revision, choice, cast_at):
    return sha256(
        b"psephos/record/v1\n" + previous + struct.pack(">Q", vote_id) + lp(pseudonym)
        + struct.pack(">I", revision) + lp(choice) + struct.pack(">Q", cast_at)
    )


SHARD = 5
in_shard = [f"voter-{n}" for n in range(200) if shard_of(pseudonym_of(f"voter-{n}")) == SHARD]
records, previous = [], genesis(SHARD)
for sequence, (voter, revision) in enumerate([(0, 1), (1, 1), (0, 2), (2, 1)], start=1):
    pseudonym, vote_id = pseudonym_of(in_shard[voter]), (sequence - 1) * SHARDS + SHARD + 1
    choice, cast_at = seal(1, 100 + sequence, voter, pseudonym), 1_930_000_000_000_000 + max(sequence, 2) * 1_000
    previous = record_hash(previous, vote_id, pseudonym, revision, choice, cast_at)
    records.append({
        "shard": SHARD, "sequence": sequence, "vote_id": vote_id, "voter_pseudonym": pseudonym.hex(),
        "revision": revision, "sealed_choice": choice.hex(), "cast_at": cast_at, "hash": previous.hex(),
    })

# One with every field at its limit, and a sealed choice of another length, for the encoding alone.
limits = {
    "previous": "ff" * 32, "shards": 256, "shard": 255, "sequence": 35_184_372_088_831, "voter_pseudonym": "80" * 32,
    "revision": 0xFFFFFFFF, "sealed_choice": "7f" * 64, "cast_at": 2**53 - 1,
}
limits["vote_id"] = (limits["sequence"] - 1) * 256 + 255 + 1
limits["hash"] = record_hash(
    bytes.fromhex(limits["previous"]), limits["vote_id"], bytes.fromhex(limits["voter_pseudonym"]),
    limits["revision"], bytes.fromhex(limits["sealed_choice"]), limits["cast_at"],
).hex()

event_hash = sha256(b"stands for an event document")
heads = [(len(records), previous) if shard == SHARD else (0, genesis(shard)) for shard in range(SHARDS)]
entries = {
    "manifest": (b"\x01" + manifest_hash).hex(),
    "votes": [
        (b"\x02" + struct.pack(">HQ", SHARD, r["sequence"]) + bytes.fromhex(r["hash"])).hex() for r in records
    ],
    "event": {"document_hash": event_hash.hex(), "entry": (b"\x03" + event_hash).hex()},
    "closing": (
        b"\x04" + struct.pack(">H", SHARDS) + b"".join(struct.pack(">Q", n) + h for n, h in heads)
        + struct.pack(">Q", len(records))
    ).hex(),
}

print(json.dumps({
    "source": "internal/ballot/vectors.py (Python's hashlib, hmac and struct; cryptography for X25519 and AES-GCM). "
    "rfc9180: the published test vectors of RFC 9180, mode base, KEM 0x0020, KDF 0x0001, AEAD 0x0002.",
    "rfc9180": rfc9180,
    "manifest": {
        "json": manifest, "canonical": manifest_bytes.decode(), "hash": manifest_hash.hex(), "origin": origin,
        "tally_private_key": tally_private.hex(), "tally_public_key": tally_public.hex(),
    },
    "voter_secret": voter_secret.hex(),
    "voters": voters,
    "enc": enc.hex(),
    "choice_key": choice_key.hex(),
    "sealed_choices": sealed,
    "genesis": {str(shard): genesis(shard).hex() for shard in (0, 5, 15, 255)},
    "records": records,
    "limits": limits,
    "entries": entries,
}, indent=2, ensure_ascii=False))

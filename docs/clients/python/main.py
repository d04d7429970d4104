"""An example of a client of Psephos: it casts a vote, watches the log, and gets and verifies a receipt.

A file each: mesh.py (mutual TLS), cast.py (safe retries), watch.py, checkpoint.py, merkle.py, receipt.py.
docs/clients.md shows it at work.
"""

import argparse
import base64
import os
import sys
import uuid
from pathlib import Path

import grpc

from cast import cast
from checkpoint import LogKey, VerificationError
from mesh import Mesh, Profile
from psephos.digest.v1.digest_pb2 import GetLogKeyRequest
from receipt import open_receipt, receipt_of
from watch import checkpoints


def main() -> None:
    arguments = parser().parse_args()
    try:
        if arguments.command == "verify":
            verify(arguments.log_key, arguments.file)
            return
        with Mesh(Profile.read(arguments.profile), arguments.election) as mesh:
            match arguments.command:
                case "cast":
                    vote = cast(mesh, arguments.voter, arguments.candidate, arguments.request)
                    print(f"vote {vote.vote_id}, record hash {vote.record_hash.hex()}")
                case "watch":
                    for checkpoint in checkpoints(mesh, log_key(mesh, arguments.log_key)):
                        root = base64.b64encode(checkpoint.root).decode()
                        print(f"{checkpoint.size} entries, root {root}", flush=True)
                case "receipt":
                    print(wait_for_receipt(mesh, log_key(mesh, arguments.log_key), arguments.vote), end="")
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
    except (OSError, VerificationError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser()
    profile = os.environ.get("PSEPHOS_PROFILE", ".psephos/profile.json")
    top.add_argument("--profile", default=profile, help="where the deployment is and who we are")
    top.add_argument("--election", default="", help="the election, if it is not the profile's")
    top.add_argument("--log-key", help="the log's verifier key; unless given, the Publisher's word is taken for it")
    top.add_argument("--request", default=str(uuid.uuid4()), help="to repeat an intended vote, give its id again")
    commands = top.add_subparsers(dest="command", required=True)
    vote = commands.add_parser("cast")
    vote.add_argument("voter")
    vote.add_argument("candidate")
    commands.add_parser("watch")
    commands.add_parser("receipt", help="wait until a vote is in the log, and prove it").add_argument("vote", type=int)
    commands.add_parser("verify", help="verify a receipt with --log-key alone").add_argument("file", type=Path)
    return top


def log_key(mesh: Mesh, given: str | None) -> LogKey:
    if given is None:
        given = mesh.digests.GetLogKey(GetLogKeyRequest(election_id=mesh.election), timeout=10).verifier_key
    return LogKey(given)


def wait_for_receipt(mesh: Mesh, log: LogKey, vote: int) -> str:
    for checkpoint in checkpoints(mesh, log):
        try:
            text = receipt_of(mesh, vote, checkpoint)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                raise
            continue  # Not yet.
        open_receipt(text, log)
        return text
    raise AssertionError("checkpoints() does not end")


def verify(key: str | None, file: Path) -> None:
    if key is None:
        sys.exit("verify needs --log-key")
    receipt = open_receipt(file.read_bytes().decode("utf-8", "surrogateescape"), LogKey(key))
    shard, sequence = receipt.position
    place = f"entry {receipt.index} of {receipt.log.size}: shard {shard}, sequence {sequence}"
    print(f"{place}, record hash {receipt.record_hash.hex()}")


if __name__ == "__main__":
    main()

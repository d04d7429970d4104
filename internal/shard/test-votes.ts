// Votes for tests.

import { genesisHead } from "../ballot/chain.ts";
import { encodeManifest, type Manifest } from "../ballot/manifest.ts";
import { genesisHash } from "../ballot/record.ts";
import { shardOf } from "../ballot/voter-key.ts";
import { concat, utf8 } from "../core/bytes.ts";
import { sequence, shardId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { PendingVote } from "./decide.ts";
import type { StoredHead } from "./ports.ts";

/** A vote of a voter, who is told from others by a name and stays in one shard. */
export function testVote(manifest: Manifest, voter: string, request = "first"): PendingVote {
  const voterPseudonym = sha256(utf8(voter));
  const shard = shardOf(voterPseudonym, manifest.shards);
  return {
    election: 1,
    shard,
    voterPseudonym,
    requestToken: sha256(utf8(`${voter}\n${request}`)).subarray(0, 16),
    sealedChoice: concat(Uint8Array.of(1), sha256(utf8(request)), sha256(utf8(voter))).subarray(0, 63),
    manifest,
    genesis: genesisHash(sha256(encodeManifest(manifest)), shard),
  };
}

/** The heads of an election without votes. */
export function testHeads(manifest: Manifest, overrides: Partial<StoredHead> = {}): StoredHead[] {
  const hash = sha256(encodeManifest(manifest));
  return Array.from({ length: manifest.shards }, (_, shard) => ({
    ...genesisHead(hash, shardId(shard)),
    election: 1,
    closed: false,
    sealedSequence: sequence(0),
    genesis: genesisHash(hash, shardId(shard)),
    ...overrides,
  }));
}

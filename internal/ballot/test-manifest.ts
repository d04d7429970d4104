// A valid manifest for tests.
import { concat, toBase64, toHex, utf8 } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { sha256 } from "../core/sha256.ts";
import type { Manifest } from "./manifest.ts";
import { generateTallyKeyPair } from "./tally-key.ts";

/** A manifest of an election "test-1" with three choices, open since 1970; its tally key is new unless given. */
export function testManifest(overrides: Partial<Manifest> = {}): Manifest {
  const id = overrides.electionId ?? electionId("test-1");
  return {
    electionId: id,
    title: "A test",
    choices: ["a", "b", "c"].map((choice) => ({ id: choice, name: `Choice ${choice}` })),
    shards: 16,
    revoting: "forbidden",
    opensAt: 0,
    closesAt: null,
    tallyKey: overrides.tallyKey ?? generateTallyKeyPair().publicKey,
    trustees: { shares: 3, threshold: 2 },
    logKey: testLogKey(`psephos.test/${id}`),
    ...overrides,
  };
}

/** A verifier key that is well-formed; nobody has its private key. */
export function testLogKey(origin: string, secret = "a public key"): string {
  const key = concat(Uint8Array.of(0x01), sha256(utf8(secret)));
  const keyId = sha256(concat(utf8(`${origin}\n`), key)).subarray(0, 4);
  return `${origin}+${toHex(keyId)}+${toBase64(key)}`;
}

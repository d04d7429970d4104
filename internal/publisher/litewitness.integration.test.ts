import { expect, test, vi } from "vitest";
import { LitewitnessUnderTest } from "../../deploy/local/litewitness.fixture.ts";
import { utf8 } from "../core/bytes.ts";
import { openCheckpoint } from "../tlog/checkpoint.ts";
import { NoteVerifier } from "../tlog/note-verifier.ts";
import { parseWitnessPolicy } from "../tlog/witness-policy.ts";
import { TestWitness } from "../witness/test-witness.ts";
import { TestElection } from "./test-election.ts";
import { TestDirectories } from "./test-publisher.ts";

test("torchwood's litewitness and ours cosign a log side by side, over restarts of each", async () => {
  await using resources = new AsyncDisposableStack();
  const directories = resources.use(await TestDirectories.create());
  const election = new TestElection();
  const theirs = resources.use(await LitewitnessUnderTest.start([election.logKey]));
  const ours = resources.use(await TestWitness.start({ logs: [election.logKey] }));
  const lines = [
    `witness theirs ${theirs.verifierKey} ${theirs.url}`,
    `witness ours ${ours.verifierKey} ${ours.url}`,
    "group both all theirs ours",
    "quorum both",
  ];
  const policyText = `${lines.join("\n")}\n`;
  const policy = parseWitnessPolicy(utf8(policyText));
  const witnessing = { policy, policyText, timeoutMs: 60_000, required: true };
  const open = () => directories.open(election, { witnessing });

  async function publish(size: number): Promise<void> {
    await publisher.submit(election.id, election.grow(size).head());
    await vi.waitFor(
      async () => {
        const { checkpoint, cosignatures } = openCheckpoint({
          note: (await directories.file(`${election.id}/checkpoint`)) ?? "",
          log: NoteVerifier.parse(election.logKey),
          witnesses: [theirs, ours].map(({ verifierKey }) => NoteVerifier.parse(verifierKey)),
        });
        expect(checkpoint.size).toBe(size);
        expect(cosignatures.length).toBe(2);
      },
      { timeout: 30_000, interval: 20 },
    );
  }

  let publisher = await open();
  try {
    for (const size of [1, 256, 300]) await publish(size);
    // The Publisher asks each again where it is, and each remembers.
    await publisher[Symbol.asyncDispose]();
    await Promise.all([theirs.restart(), ours.restart()]);
    publisher = await open();
    for (const size of [10_000, 10_001]) await publish(size);
    expect(await directories.outsider(election).check()).toBe(10_001);
  } finally {
    await publisher[Symbol.asyncDispose]();
  }
});

// A whole deployment changes the key of a log while votes are cast into it, as docs/operations.md says, and with a
// Publisher that is killed on the way.
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { keyChangePath } from "../evidence/key-change.ts";
import { SigningKey } from "../publisher/signing-key.ts";
import { parseNote } from "../tlog/note.ts";
import { TestStack, until } from "./election-fixture.ts";

let stack: TestStack;
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  stack = resources.use(await TestStack.start());
});
afterAll(() => resources.disposeAsync());

test("votes are taken and checkpoints signed while the log changes its key, and all of it verifies", async () => {
  const { services, folders } = stack.stack;
  const { publisher } = services;
  const next = join(folders.signingKeyFile, "..", "next-signing-key");
  await SigningKey.generate(next);
  const election = await stack.createElection("new-key");
  const casting = await election.startCasting();
  const grows = async () => {
    const size = await election.publishedSize();
    await casting.acknowledged(200);
    await until("what was cast since is public", async () => (await election.publishedSize()) > size);
  };
  const signatures = async () =>
    parseNote((await election.source("checkpoint")) ?? "").signatures.map(({ keyId }) => keyId);
  await grows();
  const [first] = await signatures();

  const { key_file: _, ...config } = publisher.config as { key_file: string };
  publisher.config = { ...publisher.config, next_key_file: next };
  await publisher.kill();
  await publisher.start();
  const changed = async () => (await election.source(keyChangePath(1))) !== undefined;
  await until("the log has the change", changed);
  await publisher.kill();
  await publisher.start();
  await grows();
  const both = await signatures();
  expect(both).toHaveLength(2);
  expect(both).toContain(first);

  publisher.config = { ...config, key_file: next };
  await publisher.restart();
  await grows();
  expect(await signatures()).toEqual(both.filter((keyId) => keyId !== first));
  await casting.stop();
  await election.drain();
  await election.expectExactly();
  expect(await election.source(keyChangePath(2))).toBeUndefined();
});

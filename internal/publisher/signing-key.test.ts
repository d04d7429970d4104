import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fromHex } from "../core/bytes.ts";
import { electionId } from "../core/ids.ts";
import { SigningKey } from "./signing-key.ts";
import { failure, TestDirectories } from "./test-publisher.ts";

let directories: TestDirectories;
let path: string;
const election = electionId("vermont-2020");

beforeAll(async () => {
  directories = await TestDirectories.create();
  path = join(directories.root, "key");
});

afterAll(() => directories[Symbol.asyncDispose]());

async function keyFile(content: string, mode = 0o600): Promise<string> {
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

// The seed and public key of RFC 8032 section 7.1, TEST 1.
const SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

test("is the key of its seed, under each log's name another", async () => {
  const key = await SigningKey.load(await keyFile(`${Buffer.from(SEED, "hex").toString("base64")}\n`));
  const { name, verifierKey } = key.signerFor("psephos.test", election);
  expect(name).toBe("psephos.test/vermont-2020");
  const [label, id, encoded] = verifierKey.split(/\+(.{8})\+/);
  expect(label).toBe(name);
  expect(id).not.toBe(key.signerFor("psephos.test", electionId("other")).verifierKey.split("+")[1]);
  expect(Buffer.from(encoded ?? "", "base64").toString("hex")).toBe(`01${PUBLIC}`);
});

test("a generated file is private, and read back as the same key", async () => {
  const generated = join(directories.root, "generated");
  const key = await SigningKey.generate(generated);
  expect((await stat(generated)).mode & 0o777).toBe(0o600);
  const again = await SigningKey.load(generated);
  const verifierKey = (of: SigningKey) => of.signerFor("psephos.test", election).verifierKey;
  expect(verifierKey(again)).toBe(verifierKey(key));
  expect(await failure(SigningKey.generate(generated))).toMatchObject({ code: "EEXIST" });
  expect(verifierKey(await SigningKey.load(generated))).toBe(verifierKey(key));
});

test.each([0o644, 0o604, 0o660, 0o666, 0o640 | 0o001])("refuses mode %o", async (mode) => {
  const content = `${Buffer.from(SEED, "hex").toString("base64")}\n`;
  const error = await failure(SigningKey.load(await keyFile(content, mode)));
  expect(error).toMatchObject({ name: "SigningKeyError" });
  expect(String(error)).toContain(`has mode 0${mode.toString(8)}`);
});

test.each([0o600, 0o400, 0o440, 0o640])("takes mode %o", async (mode) => {
  await SigningKey.load(await keyFile(Buffer.from(SEED, "hex").toString("base64"), mode));
  await chmod(path, 0o600);
});

test.each([
  "",
  "\n",
  SEED,
  Buffer.from(fromHex(SEED).subarray(1)).toString("base64"),
  Buffer.from(SEED, "hex").toString("base64").slice(0, -1),
  `${Buffer.from(SEED, "hex").toString("base64")}\n${Buffer.from(SEED, "hex").toString("base64")}\n`,
  "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n",
])("refuses %j, without repeating it", async (content) => {
  const error = await failure(SigningKey.load(await keyFile(content)));
  expect(error).toMatchObject({ name: "SigningKeyError" });
  if (content.trim()) expect(String(error)).not.toContain(content.trim().slice(0, 20));
  expect(error).not.toHaveProperty("cause");
  expect(await readFile(path, "utf8")).toBe(content);
});

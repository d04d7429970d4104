import { X509Certificate } from "node:crypto";
import { readFile, stat, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DevelopmentCa, type TlsFiles } from "./dev-ca.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

let folder: TemporaryFolder;

beforeEach(async () => {
  folder = await TemporaryFolder.create();
});
afterEach(async () => {
  vi.useRealTimers();
  await folder[Symbol.asyncDispose]();
});

async function certificate(files: TlsFiles): Promise<X509Certificate> {
  return new X509Certificate(await readFile(files.cert));
}

test("an identity is one URI, good for both ends of a connection, under a CA", async () => {
  const ca = await DevelopmentCa.open(folder.path);
  const files = await ca.identity("service/publisher");
  const leaf = await certificate(files);
  const root = new X509Certificate(await readFile(files.ca));
  expect(leaf.subjectAltName).toBe(
    "DNS:localhost, DNS:publisher, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, URI:spiffe://psephos.local/service/publisher",
  );
  expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]); // serverAuth, clientAuth
  expect(leaf.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
  expect([leaf.ca, root.ca]).toEqual([false, true]);
  expect(leaf.verify(root.publicKey)).toBe(true);
  expect(leaf.checkIssued(root)).toBe(true);
  expect((await stat(files.key)).mode & 0o777).toBe(0o600);
});

test("a database role is a common name and nobody in the mesh", async () => {
  const ca = await DevelopmentCa.open(folder.path);
  const leaf = await certificate(await ca.databaseRole("psephos_router"));
  expect(leaf.subject).toBe("CN=psephos_router");
  expect(leaf.subjectAltName).not.toContain("URI:");
  // And the other way round: no path is a role.
  expect((await certificate(await ca.identity("client/psephos_router"))).subject).toBe(
    "CN=client/psephos_router",
  );
});

test("what is there is used again, by whoever opens the folder", async () => {
  const first = await DevelopmentCa.open(folder.path);
  const [one, two] = await Promise.all([first.identity("client/a"), first.identity("client/a")]);
  expect(one).toEqual(two);
  const before = (await certificate(one)).serialNumber;
  const again = await DevelopmentCa.open(folder.path);
  expect((await certificate(await again.identity("client/a"))).serialNumber).toBe(before);
});

test("a certificate that is about to expire is issued anew, by the same CA", async () => {
  const old = await certificate(await (await DevelopmentCa.open(folder.path)).identity("client/a"));
  vi.useFakeTimers({ now: Date.now() + 61 * 86_400_000, toFake: ["Date"] });
  const ca = await DevelopmentCa.open(folder.path);
  const leaf = await certificate(await ca.identity("client/a"));
  expect(leaf.serialNumber).not.toBe(old.serialNumber);
  expect(leaf.verify(new X509Certificate(await readFile(ca.caFile)).publicKey)).toBe(true);
});

test("when the CA is about to expire, everything is issued anew", async () => {
  const old = await DevelopmentCa.open(folder.path);
  await old.identity("client/a");
  const oldRoot = await readFile(old.caFile, "utf8");
  vi.useFakeTimers({ now: Date.now() + 3_640 * 86_400_000, toFake: ["Date"] });
  const ca = await DevelopmentCa.open(folder.path);
  const root = await readFile(ca.caFile, "utf8");
  expect(root).not.toBe(oldRoot);
  expect((await certificate(await ca.identity("client/a"))).verify(new X509Certificate(root).publicKey)).toBe(
    true,
  );
});

test("a key that does not belong to its certificate, after a crash between the two, is replaced", async () => {
  const ca = await DevelopmentCa.open(folder.path);
  const [a, b] = [await ca.identity("client/a"), await ca.identity("client/b")];
  await writeFile(a.key, await readFile(b.key));
  const again = await (await DevelopmentCa.open(folder.path)).identity("client/a");
  expect(await readFile(again.key, "utf8")).not.toBe(await readFile(b.key, "utf8"));
});

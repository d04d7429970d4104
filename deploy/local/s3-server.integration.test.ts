import { stat } from "node:fs/promises";
import { Agent, get } from "node:https";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DevelopmentCa } from "./dev-ca.ts";
import { isAlive } from "./held.ts";
import { PortBook } from "./ports.ts";
import { findS3Server, S3_IMPLEMENTATIONS } from "./s3-binaries.ts";
import { LocalS3 } from "./s3-server.ts";
import { TemporaryFolder } from "./temporary-folder.ts";

/** How a server answers somebody without credentials who trusts `ca`. */
function statusFor(endpoint: string, ca: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(endpoint, { ca, agent: new Agent() }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", reject);
  });
}

test.each(S3_IMPLEMENTATIONS)(
  "%s serves its owner over TLS, and comes back at the same address",
  async (name) => {
    await using folder = await TemporaryFolder.create();
    using ports = await PortBook.open(join(folder.path, "ports.json"));
    const ca = await DevelopmentCa.open(join(folder.path, "tls"));
    const [server, port] = [await findS3Server(name), await ports.port("s3")];
    await using s3 = new LocalS3({ server, folder: join(folder.path, name), port, ca });
    await s3.start();

    const { endpoint, credentials, ...connection } = await s3.connection();
    expect(endpoint).toBe(`https://localhost:${port}`);
    expect(await statusFor(endpoint, connection.ca)).toBe(403);
    await expect(statusFor(endpoint, "")).rejects.toThrow();
    expect((await stat(s3.secretAccessKeyFile)).mode & 0o777).toBe(0o600);

    const { pid = 0 } = s3;
    await s3.kill();
    expect(isAlive(pid)).toBe(false);
    await s3.start();
    expect(await s3.connection()).toMatchObject({ endpoint, credentials });
    expect(await statusFor(endpoint, connection.ca)).toBe(403);
    await s3.stop();
    await expect(statusFor(endpoint, connection.ca)).rejects.toThrow("ECONNREFUSED");
  },
);

// Makes the certificates and secrets of the containers in ../compose.yaml, once, in the folder it is given; a second run
// renews what is about to expire. For development: the CA's key lies beside what it signed.
import { chmod, chown, readdir } from "node:fs/promises";
import { join } from "node:path";
import { DevelopmentCa } from "../local/dev-ca.ts";
import { ensureSecret } from "../local/secret-file.ts";

/** Who reads a key: the services' user in our image, and the database's in the `postgres` image. */
const NODE_UID = 1000;
const POSTGRES_UID = 999;

const SERVICES = ["vote-service", "shard-router", "audit-service", "publisher", "postgres", "nats"];
const PEOPLE = ["operator/local", "client/local", "auditor/local"];
const ROLES = ["psephos_owner", "psephos_router", "psephos_audit", "postgres"];

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: provision.ts FOLDER");

const tls = join(folder, "tls");
const ca = await DevelopmentCa.open(tls);
for (const name of SERVICES) await ca.identity(`service/${name}`);
for (const path of PEOPLE) await ca.identity(path);
for (const role of ROLES) await ca.databaseRole(role);
await ensureSecret(join(folder, "voter-secret"));
await ensureSecret(join(folder, "promise-key"));
await ensureSecret(join(folder, "signing-key"));
await ensureSecret(join(folder, "event-key"));

await chmod(folder, 0o755);
await chmod(tls, 0o755);
for (const name of await readdir(folder))
  if (name !== "tls") await chown(join(folder, name), NODE_UID, NODE_UID);
for (const name of await readdir(tls)) {
  if (!name.endsWith(".key") || name === "ca.key") continue;
  const uid = name === "service-postgres.key" ? POSTGRES_UID : NODE_UID;
  await chown(join(tls, name), uid, uid);
}

// Holds a stack until it is killed, for the tests of what then becomes of its processes. Prints their ids once they are up.
import { LocalServers } from "./servers.ts";
import { LocalStack } from "./stack.ts";

const [what, folder = ""] = process.argv.slice(2);
const options = { folder, postgresInstances: 2 };
const stack = what === "stack" ? await LocalStack.start(options) : undefined;
const servers = stack?.servers ?? (await LocalServers.start(options));
const all = [...servers.postgres, servers.nats, ...Object.values(stack?.services ?? {})];
console.log(JSON.stringify(all.map((server) => server.pid)));
setInterval(() => {}, 60_000);

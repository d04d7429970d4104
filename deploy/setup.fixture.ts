// What setup.mjs runs in setup.integration.test.ts: says that it is there, counts signals, and ends a while after the first.
const alive = setInterval(() => {}, 60_000);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    console.log(signal);
    process.exitCode = 7;
    setTimeout(() => clearInterval(alive), 300);
  });
}
console.log(JSON.stringify({ pid: process.pid, node: process.version, args: process.argv.slice(2) }));

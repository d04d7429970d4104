// How many requests a second the public port answers, beside nginx on the same files. Both are one process on this
// machine, as is the load, so that the ratio says what serving from Node costs and the rates say little else.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { electionId } from "../../internal/core/ids.ts";
import { onPath } from "../local/outside-program.ts";
import { LISTEN_ADDRESS, PortBook } from "../local/ports.ts";
import { type Command, ServerProcess } from "../local/process.ts";
import { runProgram } from "../local/run-program.ts";
import { LocalStack } from "../local/stack.ts";
import { TemporaryFolder } from "../local/temporary-folder.ts";
import { createBenchElection, voteClient } from "./bench-election.ts";
import { median } from "./measure.ts";
import { rounded, type Section, say } from "./section.ts";

const ID = electionId("public-http");
const ROUNDS = 5;
const SECONDS = 4;
const CONNECTIONS = 64;
/** Enough for full tiles: 256 entries each. */
const VOTES = 600;
const PUBLISH_MS = 30_000;

const FILES = [
  { what: "`checkpoint`", path: `${ID}/checkpoint` },
  { what: "a full tile, 8 KiB", path: `${ID}/tile/0/000` },
];

interface Served {
  readonly what: string;
  /** Requests a second, by round. */
  readonly ours: readonly number[];
  readonly nginx: readonly number[];
}

export const publicHttp: Section = {
  name: "public-http",
  heading: "The public log beside nginx",
  async measure() {
    const served = await measureServed();
    return { markdown: report(served), json: served };
  },
};

function report(served: readonly Served[]): string {
  const rows = served.map(({ what, ours, nginx }) => {
    const ratios = ours.map((rate, round) => rate / (nginx[round] ?? 0));
    const range = `${Math.min(...ratios).toFixed(2)} – ${Math.max(...ratios).toFixed(2)}`;
    return `| ${what} | **${median(ratios).toFixed(2)}** (${range}) | ${rounded(median(ours))} | ${rounded(median(nginx))} |`;
  });
  return `The same files of one election's log, over plain HTTP with keep-alive, from the Publisher and from nginx (one process
without logs, \`sendfile\`, \`open_file_cache\`), in ${ROUNDS} rounds of ${SECONDS} s each in turns; ${CONNECTIONS} connections from one
thread of wrk, all on this machine. Medians; the ratio is that of a round. The Publisher looks at each file's version with every
request, counts it against its client's limit, and answers with \`ETag\` and CORS headers.

| file | Publisher ÷ nginx | Publisher, requests/s | nginx, requests/s |
|---|---|---|---|
${rows.join("\n")}`;
}

async function measureServed(): Promise<Served[]> {
  const [nginx, wrk] = [await found("nginx", ["/usr/sbin"]), await found("wrk")];
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await TemporaryFolder.create()).path;
  const stack = resources.use(await LocalStack.start({ folder: join(folder, "state") }));
  await publishLog(stack, resources);

  const ports = resources.use(await PortBook.open(join(folder, "ports.json")));
  const port = await ports.port("nginx");
  const server = resources.use(
    new Nginx({ program: nginx, folder: join(folder, "nginx"), root: stack.folders.public, port }),
  );
  await server.start();

  const ours = `http://${stack.addresses.public}`;
  const served: Served[] = [];
  for (const { what, path } of FILES) {
    say(what);
    // Once before: compiled, connected, and caches filled.
    await load(wrk, `${ours}/${path}`);
    const rates: { ours: number; nginx: number }[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      rates.push({
        ours: await load(wrk, `${ours}/${path}`),
        nginx: await load(wrk, `${server.url}/${path}`),
      });
    }
    served.push({ what, ours: rates.map((rate) => rate.ours), nginx: rates.map((rate) => rate.nginx) });
  }
  return served;
}

async function found(name: string, more: readonly string[] = []): Promise<string> {
  const program = await onPath(name, more);
  if (program) return program;
  throw new Error(`this section needs ${name}: apt-get install --no-install-recommends nginx-light wrk`);
}

/** An election with full tiles, whose newest checkpoint stays as it is. */
async function publishLog(stack: LocalStack, resources: AsyncDisposableStack): Promise<void> {
  await createBenchElection(stack, resources, ID);
  const client = await voteClient(stack, resources);
  async function* requests() {
    for (let vote = 0; vote < VOTES; vote++) {
      const choice = { case: "candidateId" as const, value: "ada" };
      const of = { voterId: `voter ${vote}`, requestId: `request ${vote}` };
      yield { id: BigInt(vote), vote: { electionId: ID, ...of, choice } };
    }
  }
  for await (const { outcome } of client.castVotes(requests())) {
    if (outcome.case !== "vote") throw new Error("a vote was refused");
  }
  const deadline = performance.now() + PUBLISH_MS;
  while ((await sizeOf(`http://${stack.addresses.public}/${ID}/checkpoint`)) < VOTES + 1) {
    if (performance.now() > deadline) throw new Error("the votes were not published");
    await sleep(100);
  }
}

/** The second line of a checkpoint. */
async function sizeOf(url: string): Promise<number> {
  const response = await fetch(url);
  const [, size] = (await response.text()).split("\n");
  return response.ok ? Number(size) : 0;
}

/** Requests a second. */
async function load(wrk: string, url: string): Promise<number> {
  const args = ["--threads=1", `--connections=${CONNECTIONS}`, `--duration=${SECONDS}s`, url];
  const output = await runProgram({ file: wrk, args });
  const rate = Number(/^Requests\/sec:\s+([\d.]+)$/m.exec(output)?.[1]);
  // It counts what is refused as answered.
  if (!(rate > 0) || /Non-2xx|Socket errors/.test(output)) throw new Error(`wrk of ${url}: ${output}`);
  return rate;
}

/** One process that serves a folder, as its documentation says to make it fast. */
class Nginx extends ServerProcess {
  readonly #options: { program: string; folder: string; root: string; port: number };

  constructor(options: { program: string; folder: string; root: string; port: number }) {
    super({
      name: "nginx",
      logFile: join(options.folder, "nginx.log"),
      stopSignal: "SIGTERM",
      stopTimeoutMs: 5_000,
      orphanSignal: "TERM",
    });
    this.#options = options;
  }

  get url(): string {
    return `http://${LISTEN_ADDRESS}:${this.#options.port}`;
  }

  protected override async prepare(): Promise<Command> {
    const { program, folder, root, port } = this.#options;
    await mkdir(folder, { recursive: true });
    const file = join(folder, "nginx.conf");
    const own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    await writeFile(
      file,
      `daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
  ${own.map((name) => `${name}_temp_path ${folder}/${name};`).join("\n  ")}
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  open_file_cache max=1000;
  server {
    listen ${LISTEN_ADDRESS}:${port};
    root ${root};
    add_header Cache-Control "public, max-age=1";
    add_header Access-Control-Allow-Origin "*";
  }
}
`,
    );
    return { file: program, args: ["-c", file, "-p", folder, "-e", "stderr"] };
  }

  protected override async isReady(): Promise<boolean> {
    return (await fetch(`${this.url}/${ID}/checkpoint`)).ok;
  }
}

// Who may import whom. A reader can open any folder knowing what it cannot depend on, and a change that would tie two
// services together, or a second file to a driver, fails here with its line.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What a service's logic stands on. It declares ports, which adapters fit, so that of these it sees interfaces alone. */
const SERVICE = [
  "internal/core",
  "internal/tlog",
  "internal/ballot",
  "internal/receipt",
  "internal/evidence",
  "internal/telemetry",
  "internal/config",
  "internal/http",
  "internal/worm/object-store.ts",
  "internal/worm/put-all.ts",
  "internal/reconcile",
  "type internal/grpc/identity.ts",
  "gen",
];
const SERVICES = ["vote", "shard", "audit", "publisher"];

/** What each folder may import of ours: folders, files, and after "type", files of which only types. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "internal/core": [],
  "internal/demo": [],
  "internal/tlog": ["internal/core"],
  "internal/ballot": ["internal/core"],
  "internal/telemetry": ["internal/core"],
  "internal/evidence": ["internal/core", "internal/tlog", "internal/ballot"],
  // What a voter takes home. A web page verifies with it, too.
  "internal/receipt": ["internal/core", "internal/tlog", "internal/ballot"],
  "internal/config": ["internal/core", "internal/telemetry", "internal/worm/probe/checks.ts"],
  "internal/http": ["internal/core", "internal/telemetry"],
  // What a log's records are asked, and what keeping them costs.
  "internal/query": ["internal/core", "internal/ballot", "internal/evidence"],
  "internal/cost": ["internal/core", "internal/evidence", "internal/worm/object-store.ts"],
  // Adapters, which see of a service the ports they fit.
  "internal/grpc": ["internal/core", "internal/telemetry", "gen"],
  "internal/postgres": [
    "internal/core",
    "internal/ballot",
    "internal/telemetry",
    "type internal/shard/ports.ts",
    "type internal/audit/head.ts",
    "type internal/restore/ports.ts",
    "type internal/reconcile/repair-ports.ts",
  ],
  "internal/stream": ["internal/core", "internal/telemetry"],
  "internal/worm": ["internal/core", "internal/telemetry", "type internal/config/evidence.ts"],
  // Services: none of them another.
  ...Object.fromEntries(SERVICES.map((name) => [`internal/${name}`, SERVICE])),
  // Outsiders: what verifies has nothing in common with what it verifies but the formats.
  "internal/verify": [
    "internal/core",
    "internal/tlog",
    "internal/ballot",
    "internal/evidence",
    "internal/worm/object-store.ts",
  ],
  // Observers, who keep files as the Publisher does.
  "internal/witness": [
    "internal/core",
    "internal/tlog",
    "internal/http",
    "internal/telemetry",
    "type internal/publisher/durable-files.ts",
  ],
  // The page for people, which verifies in the browser.
  "internal/page": [
    "internal/core",
    "internal/tlog",
    "internal/ballot",
    "internal/evidence",
    "internal/receipt",
    "internal/verify",
  ],
  "internal/monitor": [
    "internal/core",
    "internal/tlog",
    "internal/ballot",
    "internal/evidence",
    "internal/verify",
    "internal/telemetry",
    "type internal/publisher/durable-files.ts",
  ],
  // Fills what the services keep, in their formats. It reads evidence as AuditService does, and serves nobody.
  "internal/restore": [
    "internal/core",
    "internal/tlog",
    "internal/ballot",
    "internal/evidence",
    "internal/worm/object-store.ts",
    "internal/verify",
    "internal/audit/election-log.ts",
    "internal/audit/evidence-replay.ts",
    "internal/audit/halt.ts",
    "internal/audit/keep-tiles.ts",
    "internal/audit/stored-segments.ts",
    "internal/publisher/public-log.ts",
    "internal/publisher/signed-head.ts",
    "internal/publisher/signer-state.ts",
    "type internal/audit/head.ts",
    "type internal/publisher/durable-files.ts",
    "type internal/shard/ports.ts",
  ],
  // Compares what it is given with the evidence, for AuditService and for the command line.
  "internal/reconcile": ["internal/core", "internal/ballot", "internal/evidence"],
  "internal/cli": [
    "internal/reconcile",
    "internal/stream/record-stream.ts",
    "internal/core",
    "internal/tlog",
    "internal/ballot",
    "internal/receipt",
    "internal/evidence",
    "internal/telemetry",
    "internal/config",
    "internal/grpc",
    "internal/worm",
    "internal/verify",
    "internal/query",
    "internal/cost",
    "internal/demo",
    "internal/audit/record-message.ts",
    "internal/audit/config.ts",
    "internal/postgres",
    "internal/publisher/config.ts",
    "internal/publisher/directory-lock.ts",
    "internal/publisher/durable-files.ts",
    "internal/restore",
    "internal/witness",
    "internal/monitor",
    "internal/shard/config.ts",
    "internal/shard/placement.ts",
    "deploy/local",
    "gen",
  ],
};

const MAINS: Readonly<Record<string, string>> = {
  "cmd/vote-service": "internal/vote",
  "cmd/shard-router": "internal/shard",
  "cmd/audit-service": "internal/audit",
  "cmd/publisher": "internal/publisher",
  "cmd/psephos": "internal/cli",
};

/** Packages that one folder has for itself. */
const ONLY_IMPORTER: readonly (readonly [packages: RegExp, folder: string])[] = [
  [/^(@grpc\/|grpc-)/, "internal/grpc"],
  [/^pg$/, "internal/postgres"],
  [/^(nats|@nats-io\/.*)$/, "internal/stream"],
  [/^@aws-sdk\//, "internal/worm"],
  [/^@duckdb\//, "internal/query"],
  [/^(preact|uplot)\b/, "internal/page"],
  [/^playwright-core$/, "deploy/local"],
  [/^pino$|^prom-client$/, "internal/telemetry"],
];

/** A browser runs these. */
const WITHOUT_NODE = ["internal/core", "internal/tlog", "internal/receipt", "internal/page"];
/** Runs where the page is built. */
const BUILDS_THE_PAGE = "internal/page/vite.config.ts";

interface Import {
  /** Such as `internal/vote/cast.ts:12`. */
  readonly line: string;
  readonly folder: string;
  readonly typeOnly: boolean;
  /** A path from the root for a file of ours; otherwise a package. */
  readonly target: string;
  readonly isOurs: boolean;
}

/** Tests see behind every door, and so do the files that only tests import. */
function isForTests(path: string): boolean {
  return /\.test\.ts$|[.-]fixture\.ts$|\/test-[^/]+\.ts$|\.contract\.ts$|^internal\/integration\//.test(path);
}

/** `internal/vote/cast.ts` is in internal/vote. */
function folderOf(path: string): string {
  return path.split("/").slice(0, 2).join("/");
}

function importsOf(path: string): Import[] {
  const text = readFileSync(join(ROOT, path), "utf8");
  const statements = text.matchAll(
    /^(?:import|export)\s+(?<type>type\s)?(?:[^;"']*?\sfrom\s+)?"(?<from>[^"]+)"|\bimport\("(?<dynamic>[^"]+)"\)/gm,
  );
  return [...statements].map(({ index, 0: statement, groups = {} }) => {
    const specifier = groups.from ?? groups.dynamic ?? "";
    const isOurs = specifier.startsWith(".");
    return {
      line: `${path}:${text.slice(0, index + statement.length).split("\n").length}`,
      folder: folderOf(path),
      typeOnly: groups.type !== undefined,
      target: isOurs ? normalize(join(dirname(path), specifier)) : specifier,
      isOurs,
    };
  });
}

const IMPORTS = ["internal", "cmd", "deploy"]
  .flatMap((root) =>
    readdirSync(join(ROOT, root), { recursive: true, encoding: "utf8" }).map((file) => join(root, file)),
  )
  .filter((path) => /\.tsx?$/.test(path) && !isForTests(path))
  .flatMap(importsOf);

/** The lines of imports that break a rule, each with what it imports. */
function breaking(rule: (found: Import) => boolean): string[] {
  return IMPORTS.filter((found) => !rule(found)).map(({ line, target }) => `${line} imports ${target}`);
}

function isAllowed({ target, typeOnly }: Import, allowed: readonly string[]): boolean {
  return allowed.some((entry) => {
    const [, type, path = ""] = /^(type )?(.*)$/.exec(entry) ?? [];
    return (type === undefined || typeOnly) && (target === path || target.startsWith(`${path}/`));
  });
}

describe("imports", () => {
  test("are found", () => {
    expect(IMPORTS.length).toBeGreaterThan(500);
    expect(IMPORTS.map(({ target }) => target)).toContain("internal/core/ids.ts");
    expect(importsOf("deploy/local/service-configs.ts")).toContainEqual({
      line: "deploy/local/service-configs.ts:2",
      folder: "deploy/local",
      typeOnly: true,
      target: "internal/audit/config.ts",
      isOurs: true,
    });
  });

  test("that a rule forbids are recognised", () => {
    const allows = (target: string, typeOnly = false) =>
      isAllowed({ line: "", folder: "internal/vote", typeOnly, target, isOurs: true }, SERVICE);
    expect(allows("internal/core/ids.ts")).toBe(true);
    expect(allows("internal/core-two/ids.ts")).toBe(false);
    expect(allows("internal/shard/decide.ts", true)).toBe(false);
    expect(allows("internal/worm/directory-store.ts")).toBe(false);
    expect(allows("internal/grpc/identity.ts")).toBe(false);
    expect(allows("internal/grpc/identity.ts", true)).toBe(true);
  });

  test("of what is made for tests are in tests", () => {
    expect(breaking(({ target, isOurs }) => !isOurs || !isForTests(target))).toEqual([]);
  });

  test("every folder has a rule", () => {
    const folders = new Set(IMPORTS.map(({ folder }) => folder));
    const known = [...Object.keys(MAY_IMPORT), ...Object.keys(MAINS)];
    const unruled = [...folders].filter((folder) => !folder.startsWith("deploy/") && !known.includes(folder));
    expect(unruled).toEqual([]);
  });

  test("between folders go one way", () => {
    const broken = breaking((found) => {
      const allowed = MAY_IMPORT[found.folder];
      if (!found.isOurs || !allowed || folderOf(found.target) === found.folder) return true;
      return isAllowed(found, allowed);
    });
    expect(broken).toEqual([]);
  });

  test("of a main are of its own service, and of what all share", () => {
    const others = Object.values(MAINS);
    const broken = breaking(({ folder, target }) => {
      const own = MAINS[folder];
      return !own || !others.some((other) => other !== own && target.startsWith(`${other}/`));
    });
    expect(broken).toEqual([]);
  });

  test("of deploy/ are of the services' configurations at most, but for what benchmarks measure", () => {
    const broken = breaking(({ folder, target, typeOnly }) => {
      const service = SERVICES.find((name) => target.startsWith(`internal/${name}/`));
      if (!folder.startsWith("deploy/") || folder === "deploy/bench" || service === undefined) return true;
      return typeOnly && target === `internal/${service}/config.ts`;
    });
    expect(broken).toEqual([]);
  });

  test("of a driver are in one folder", () => {
    const broken = breaking(({ folder, target, isOurs }) => {
      const owner = isOurs ? undefined : ONLY_IMPORTER.find(([packages]) => packages.test(target))?.[1];
      return owner === undefined || folder === owner;
    });
    expect(broken).toEqual([]);
  });

  test("of Node's own modules are not where a browser runs", () => {
    expect(
      breaking(
        ({ folder, line, target }) =>
          !WITHOUT_NODE.includes(folder) || !target.startsWith("node:") || line.startsWith(BUILDS_THE_PAGE),
      ),
    ).toEqual([]);
  });
});

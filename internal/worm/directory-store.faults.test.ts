// Every system call of a put fails once, before it takes effect and after, and each time the object is whole or absent
// and the same put again succeeds. The calls themselves are real; only their outcome is bent.
import { type FileHandle, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { utf8 } from "../core/bytes.ts";
import { DirectoryStore } from "./directory-store.ts";
import { keys } from "./object-store.contract.ts";
import { ObjectConflictError } from "./object-store.ts";

const calls = vi.hoisted(() => ({
  log: [] as string[],
  fail: undefined as { readonly at: number; readonly after: boolean } | undefined,
  /** What a call waits for before it takes effect. */
  gate: undefined as ((line: string) => Promise<void> | undefined) | undefined,
}));

vi.mock("node:fs/promises", async (importOriginal) => {
  const fs = await importOriginal<typeof import("node:fs/promises")>();
  async function step<T>(name: string, path: string, call: () => Promise<T>): Promise<T> {
    const index = calls.log.push(`${name} ${path}`) - 1;
    await calls.gate?.(`${name} ${path}`);
    const error = Object.assign(new Error(`EIO: ${name}`), { code: "EIO" });
    if (calls.fail?.at === index && !calls.fail.after) throw error;
    const outcome = await Promise.allSettled([call()]).then(([only]) => only);
    if (calls.fail?.at === index) {
      if (outcome.status === "fulfilled" && isHandle(outcome.value)) await outcome.value.close();
      throw error;
    }
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }
  const isHandle = (value: unknown): value is FileHandle =>
    typeof value === "object" && value !== null && "close" in value;
  return {
    ...fs,
    link: (from: string, to: string) => step("link", to, () => fs.link(from, to)),
    mkdir: (path: string, options?: { recursive: true }) =>
      step("mkdir", path, () => fs.mkdir(path, options)),
    open: async (path: string, flags: string, mode?: number) => {
      const file = await step(`open ${flags}`, path, () => fs.open(path, flags, mode));
      for (const name of ["writeFile", "utimes", "sync"] as const) {
        // The three have different parameters; passing on what came is right for each.
        const original = file[name].bind(file) as (...args: unknown[]) => Promise<void>;
        Object.assign(file, { [name]: (...args: unknown[]) => step(name, path, () => original(...args)) });
      }
      return file;
    },
  };
});

async function newPlace() {
  const parent = await mkdtemp(join(tmpdir(), "psephos-worm-"));
  const directory = join(parent, "store");
  return {
    parent,
    open: () => new DirectoryStore({ directory, retention: { days: 1 } }),
    temporaries: () => readdir(join(directory, ".tmp")).catch(() => []),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  };
}

beforeEach(() => {
  calls.log.length = 0;
  calls.fail = undefined;
  calls.gate = undefined;
});

/** The calls so far, with paths from `parent` on. */
function stepsIn(parent: string): string[] {
  return calls.log.map((line) => {
    const [name, path] = [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)];
    const short = relative(parent, path) || ".";
    return `${name} ${short.includes(".tmp/") ? "temporary" : short}`;
  });
}

test("a put flushes the file before it has its name, and the name before it resolves", async () => {
  await using place = await newPlace();
  await place.open().put("e-1/votes/x", utf8("x"));
  expect(stepsIn(place.parent)).toEqual([
    "mkdir store",
    ...["open r .", "sync ."],
    "mkdir store/.tmp",
    ...["open r store", "sync store"],
    "mkdir store/e-1",
    ...["open r store", "sync store"],
    "mkdir store/e-1/votes",
    ...["open r store/e-1", "sync store/e-1"],
    "open r store/e-1/votes/x",
    ...["open wx temporary", "writeFile temporary", "utimes temporary", "sync temporary"],
    "link store/e-1/votes/x",
    ...["open r store/e-1/votes", "sync store/e-1/votes"],
  ]);
});

test("a put that finds its folders gone makes and flushes them as the first one did", async () => {
  await using place = await newPlace();
  const store = new DirectoryStore({ directory: join(place.parent, "store") });
  await store.put("e-1/tile/x", utf8("x"));
  const first = stepsIn(place.parent);
  await rm(join(place.parent, "store"), { recursive: true });
  calls.log.length = 0;
  await store.put("e-1/tile/x", utf8("x"));
  // The first attempt gets as far as the look at what is there and the temporary file, which has no folder.
  expect(stepsIn(place.parent)).toEqual(["open r store/e-1/tile/x", "open wx temporary", ...first]);
});

test("a repeated put flushes too: its first writer may have died before it did", async () => {
  await using place = await newPlace();
  await place.open().put("a/x", utf8("x"));
  calls.log.length = 0;
  await place.open().put("a/x", utf8("x"));
  const synced = calls.log.filter((line) => line.startsWith("sync ")).map((line) => basename(line.slice(5)));
  expect(synced.slice(-2)).toEqual(["x", "a"]);
  expect(calls.log.filter((line) => line.startsWith("link "))).toEqual([]);
});

test.each([false, true])("each system call failing (after it took effect: %s)", async (after) => {
  let failures = 0;
  for (let at = 0; ; at++) {
    await using place = await newPlace();
    const store = place.open();
    calls.log.length = 0;
    calls.fail = { at, after };
    const outcome = await store.put("e-1/votes/x", utf8("body")).catch((error: unknown) => error);
    const reached = calls.log.length > at;
    calls.fail = undefined;
    if (!reached) {
      expect(outcome).toMatchObject({ bytes: 4 });
      break;
    }
    failures++;
    const where = `${calls.log[at]}, after: ${after}`;
    expect(outcome, where).toMatchObject({ code: "EIO" });
    expect(await place.temporaries(), where).toEqual([]);

    const found = await place.open().get("e-1/votes/x");
    if (found !== undefined) expect(found, where).toEqual(utf8("body"));
    // By the store that met the fault, and by one that never knew of it.
    for (const again of [store, place.open()]) {
      expect(await again.put("e-1/votes/x", utf8("body")), where).toMatchObject({ bytes: 4 });
      await expect(again.put("e-1/votes/x", utf8("else")), where).rejects.toThrow(ObjectConflictError);
    }
    expect(await keys(place.open(), ""), where).toEqual(["e-1/votes/x"]);
  }
  expect(failures).toBe(20);
});

test("flushes of one folder are shared by puts at once, and never skipped", async () => {
  await using place = await newPlace();
  const store = place.open();
  await store.put("a/first", utf8("x"));
  calls.log.length = 0;
  await Promise.all(Array.from({ length: 40 }, (_, i) => store.put(`a/${i}`, utf8("x"))));
  const folder = calls.log.flatMap((line, i) =>
    line.startsWith("sync ") && line.endsWith("/store/a") ? [i] : [],
  );
  expect(folder.length).toBeLessThan(20);
  const lastLink = calls.log.findLastIndex((line) => line.startsWith("link "));
  expect(folder.at(-1)).toBeGreaterThan(lastLink);
});

test("a flush under way is not taken for one that began later", async () => {
  await using place = await newPlace();
  const store = place.open();
  await store.put("a/first", utf8("x"));
  calls.log.length = 0;
  const gates: (() => void)[] = [];
  calls.gate = (line) =>
    line.startsWith("sync ") && line.endsWith("/store/a") ? new Promise((go) => gates.push(go)) : undefined;

  const done: string[] = [];
  const put = (name: string) => store.put(`a/${name}`, utf8("x")).then(() => void done.push(name));
  const linked = (name: string) =>
    vi.waitFor(() => expect(calls.log.join()).toContain(`link ${join(place.parent, "store/a", name)}`));
  const early = put("early");
  await vi.waitFor(() => expect(gates).toHaveLength(1));
  const late = [put("late"), put("later")];
  await Promise.all(["late", "later"].map(linked));
  gates[0]?.();
  await early;
  await vi.waitFor(() => expect(gates).toHaveLength(2));
  expect(done).toEqual(["early"]);
  gates[1]?.();
  await Promise.all(late);
  expect(gates).toHaveLength(2);
});

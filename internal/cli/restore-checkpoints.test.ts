import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TemporaryFolder } from "../../deploy/local/temporary-folder.ts";
import { electionId } from "../core/ids.ts";
import { NoteSigner } from "../tlog/note.ts";
import { UsageError } from "./exit-code.ts";
import { type CheckpointPlaces, electionsToRestore } from "./restore-checkpoints.ts";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder[Symbol.asyncDispose]());

const town = electionId("town");
const note = (size: number) => `psephos.test/town\n${size}\n`;
const logKey = (id: string) =>
  NoteSigner.fromSeed(`psephos.test/${id}`, new Uint8Array(32).fill(1)).verifierKey;

/** A folder as a public one, with a checkpoint of the town's. */
async function publicFolder(name: string, size: number): Promise<string> {
  const place = join(folder.path, name);
  await mkdir(join(place, "town"), { recursive: true });
  await writeFile(join(place, "town", "checkpoint"), note(size));
  return place;
}

async function kept(size: number): Promise<string> {
  const file = join(folder.path, `kept-${size}`);
  await writeFile(file, note(size));
  return file;
}

function find(places: Partial<CheckpointPlaces>) {
  return electionsToRestore({
    ...{ ids: [town], publicDirectory: undefined, usual: undefined, withoutCheckpoint: false },
    ...places,
  });
}

/** The sizes of the checkpoints that are found. */
async function sizes(places: Partial<CheckpointPlaces>): Promise<number[]> {
  const [election] = await find(places);
  const notes = election?.checkpoints.map((found) => new TextDecoder().decode(found.note)) ?? [];
  return notes.map((text) => Number(text.split("\n")[1]));
}

test("every place that is named counts, and a folder without the election does not", async () => {
  const checkpoint = [await kept(1), await kept(2)];
  const places = { public: await publicFolder("mirror", 3), publicDirectory: await publicFolder("own", 4) };
  expect(await sizes({ checkpoint, ...places })).toEqual([1, 2, 3, 4]);
  expect(await sizes({ ...places, public: folder.path })).toEqual([4]);
});

test("the usual place is asked where no other is named", async () => {
  const usual = await publicFolder("usual", 5);
  expect(await sizes({ usual })).toEqual([5]);
  expect(await sizes({ usual, checkpoint: [await kept(1)] })).toEqual([1]);
  expect(await sizes({ usual, withoutCheckpoint: true })).toEqual([]);
});

test("an election without a checkpoint is refused, unless one is to do without", async () => {
  await expect(find({ public: folder.path })).rejects.toThrow("there is no public checkpoint of town");
  expect(await sizes({ public: folder.path, withoutCheckpoint: true })).toEqual([]);
});

test("a key or a checkpoint of an election that is not restored is refused", async () => {
  const withoutCheckpoint = true;
  const [election] = await find({ withoutCheckpoint, logKey: [logKey("town")] });
  expect(election?.logKey).toBe(logKey("town"));
  await expect(find({ withoutCheckpoint, logKey: [logKey("town"), logKey("twon")] })).rejects.toThrow(
    "there is a --log-key of twon, which is not to be restored",
  );
  const other = { ids: [electionId("city")], withoutCheckpoint, checkpoint: [await kept(1)] };
  await expect(find(other)).rejects.toThrow(UsageError);
  await expect(find(other)).rejects.toThrow("there is a --checkpoint of town, which is not to be restored");
});

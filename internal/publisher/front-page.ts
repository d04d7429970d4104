// The page as `/` answers it: with the figures of each election in it, for browsers without scripts and until they run.
import { decodeUtf8, utf8 } from "../core/bytes.ts";
import { isElectionId } from "../core/ids.ts";
import { ELECTION_INDEX } from "./election-index.ts";
import { type HotFile, type HotFiles, hotFile } from "./hot-files.ts";
import { PAGE } from "./page-files.ts";
import { CHECKPOINT, MANIFEST } from "./public-log.ts";

/** Of a deployment with more, the others are in index.json. */
const MAX_ELECTIONS = 50;
/** What the page has for one election; as it is built, a comment. */
const ELECTION_BLOCK = /<!--election\n([\s\S]*?)-->/;

export class FrontPage {
  readonly #files: HotFiles;
  /** The last one made, and of which versions of which files. */
  #made: { readonly of: string; readonly page: HotFile } | undefined;

  constructor({ files }: { readonly files: HotFiles }) {
    this.#files = files;
  }

  /** Undefined where no page is installed. */
  async read(): Promise<HotFile | undefined> {
    const [template, index] = await Promise.all([this.#files.read(PAGE), this.#files.read(ELECTION_INDEX)]);
    if (!template) return undefined;
    const elections = index ? await this.#read(electionsOf(index)) : [];
    const files = elections.flatMap(({ checkpoint, manifest }) => [checkpoint, manifest]);
    const of = [template, ...files].map(({ tag }) => tag).join(" ");
    if (this.#made?.of !== of) this.#made = { of, page: render(template, elections) };
    return this.#made.page;
  }

  async #read(ids: readonly string[]): Promise<ShownElection[]> {
    const shown = ids.map(async (id) => {
      const names = [CHECKPOINT, MANIFEST];
      const [checkpoint, manifest] = await Promise.all(
        names.map((name) => this.#files.read(`${id}/${name}`)),
      );
      return checkpoint && manifest ? [{ id, checkpoint, manifest }] : [];
    });
    return (await Promise.all(shown)).flat();
  }
}

interface ShownElection {
  readonly id: string;
  readonly checkpoint: HotFile;
  readonly manifest: HotFile;
}

/** The files are our own, and well-formed. */
function electionsOf(index: HotFile): string[] {
  const { elections } = JSON.parse(decodeUtf8(index.bytes));
  return elections
    .map(({ election_id: id }: { readonly election_id: string }) => id)
    .filter(isElectionId)
    .slice(0, MAX_ELECTIONS);
}

function render(template: HotFile, elections: readonly ShownElection[]): HotFile {
  const html = decodeUtf8(template.bytes).replace(ELECTION_BLOCK, (_, block: string) =>
    elections.map((election) => fill(block, figuresOf(election))).join(""),
  );
  const dates = [template, ...elections.map(({ checkpoint }) => checkpoint)].map((file) => file.lastModified);
  return hotFile(utf8(html), new Date(Math.max(...dates.map(Number))));
}

function figuresOf({ id, checkpoint, manifest }: ShownElection): Record<string, string> {
  // The second line of a checkpoint is the size (c2sp.org/tlog-checkpoint).
  const [, size = ""] = decodeUtf8(checkpoint.bytes).split("\n");
  const { title } = JSON.parse(decodeUtf8(manifest.bytes));
  const published = checkpoint.lastModified;
  return {
    election: id,
    title: String(title),
    size: Number(size).toLocaleString("en-US"),
    published_at: published.toISOString(),
    published: published.toUTCString(),
  };
}

function fill(block: string, values: Readonly<Record<string, string>>): string {
  return block.replace(/\{(\w+)\}/g, (_, name: string) => escapeHtml(values[name] ?? ""));
}

/** A title is an operator's text, up to 256 bytes of anything but control characters. */
function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`);
}

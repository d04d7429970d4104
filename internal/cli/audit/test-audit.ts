// For tests: audits of the evidence of a TestLog, in a folder, by real threads.
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { TemporaryFolder } from "../../../deploy/local/temporary-folder.ts";
import { NoteVerifier } from "../../tlog/note-verifier.ts";
import { checkSegment, type SegmentChecker } from "../../verify/check-segment.ts";
import { EvidenceReader } from "../../verify/evidence-reader.ts";
import type { TestLog } from "../../verify/test-log.ts";
import { DirectoryStore } from "../../worm/directory-store.ts";
import { type Audit, type AuditOptions, runAudit, WHOLE_LOG } from "./run-audit.ts";
import { SegmentPool } from "./segment-pool.ts";
import { packVoters } from "./voter-rows.ts";

export class AuditedFolder implements AsyncDisposable {
  readonly log: TestLog;
  readonly path: string;
  readonly #folder: TemporaryFolder;

  private constructor(log: TestLog, folder: TemporaryFolder) {
    this.log = log;
    this.path = join(folder.path, "evidence");
    this.#folder = folder;
  }

  static async create(log: TestLog): Promise<AuditedFolder> {
    const audited = new AuditedFolder(log, await TemporaryFolder.create());
    await audited.store(log);
    return audited;
  }

  get stateFolder(): string {
    return join(this.#folder.path, "state");
  }

  /** Makes the evidence of a log what the folder has. */
  async store(log: TestLog): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
    for (const [key, body] of log.evidence) {
      await mkdir(dirname(join(this.path, key)), { recursive: true });
      await writeFile(join(this.path, key), body);
    }
  }

  /** Audits what the evidence of the log has become, with the public log beside it. Without workers, on this thread. */
  async audit(options: Partial<AuditOptions> & { readonly workers?: number } = {}): Promise<Audit> {
    const { workers, eventKey, ...rest } = options;
    if (workers === undefined) {
      const checker = checkHere({ ...this.options, eventKey });
      return runAudit({ ...this.options, checker, eventKey, ...rest });
    }
    const evidence = { directory: this.path, retention_days: 1, layout: "segments" } as const;
    await using checker = new SegmentPool({ workers, evidence, lock: undefined, eventKey });
    return await runAudit({ ...this.options, checker, eventKey, ...rest });
  }

  /** For an audit with another store. */
  get options(): AuditOptions {
    const { electionId, manifest, source } = this.log;
    const store = new DirectoryStore({ directory: this.path });
    return {
      electionId,
      place: this.path,
      store,
      lock: undefined,
      checker: checkHere({ store }),
      range: WHOLE_LOG,
      source,
      logKey: manifest.logKey,
      eventKey: undefined,
      stateFolder: this.stateFolder,
      resume: false,
      onProgress: () => {},
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** Does what a thread does, on this one. */
export function checkHere({
  store,
  lock,
  eventKey,
}: Pick<AuditOptions, "store"> &
  Partial<Pick<AuditOptions, "lock" | "eventKey">>): SegmentChecker<Uint8Array> {
  const reader = new EvidenceReader({ store, lock });
  const key = eventKey === undefined ? undefined : NoteVerifier.parse(eventKey);
  return {
    ahead: 3,
    async check(task) {
      const { content, ...rest } = await checkSegment(task, { reader, eventKey: key });
      return { ...rest, content: packVoters(content.records, rest.checked?.heads.length ?? 1) };
    },
  };
}

// Policies (c2sp.org/tlog-policy): which witnesses there are, and which of them together are enough.
//
//   witness town       witness.town.example+d5b0d2b1+BPzAzQ…   https://witness.town.example
//   witness newspaper  paper.example/w+0a3d9d0c+BKk3nC…        https://witness.paper.example
//   witness party      party.example/w+3c4f6a21+BGd0aW…        https://witness.party.example
//   group   observers  2 town newspaper party
//   quorum  observers
import { decodeUtf8, toHex } from "../core/bytes.ts";
import { malformed, type TlogError } from "./errors.ts";
import { ALGORITHM_COSIGNATURE_V1, ALGORITHM_ED25519, NoteVerifier } from "./note-verifier.ts";

/** Longer files are refused. 64 of each kind of line take a tenth, and a note has at most 100 signatures. */
export const MAX_POLICY_BYTES = 64 * 1024;
/** Of logs, of witnesses, and of groups. The specification asks for at least 32. */
const MAX_OF_A_KIND = 64;
const MAX_URL_LENGTH = 2048;

export interface PolicyLog {
  readonly verifier: NoteVerifier;
  readonly url: string | undefined;
}

export interface PolicyWitness {
  /** Within the policy. The name that it signs with is its verifier's. */
  readonly name: string;
  readonly verifier: NoteVerifier;
  /** Its submission prefix (c2sp.org/tlog-witness), without a slash at the end. */
  readonly url: string | undefined;
}

/** At least `threshold` of the members, each a witness or a group itself. */
interface Group {
  readonly threshold: number;
  readonly members: readonly string[];
}

export class WitnessPolicy {
  /** None where the log is known from elsewhere. */
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  /** The name of a witness or a group, or "none". */
  readonly quorum: string;
  readonly #groups: ReadonlyMap<string, Group>;

  constructor(options: {
    readonly logs: readonly PolicyLog[];
    readonly witnesses: readonly PolicyWitness[];
    readonly groups: ReadonlyMap<string, Group>;
    readonly quorum: string;
  }) {
    this.logs = options.logs;
    this.witnesses = options.witnesses;
    this.quorum = options.quorum;
    this.#groups = options.groups;
  }

  /** Whether cosignatures of these witnesses, which the caller has verified, are enough. */
  isSatisfiedBy(cosigners: Iterable<NoteVerifier>): boolean {
    if (this.quorum === NONE) return true;
    const labels = new Set([...cosigners].map(({ label }) => label));
    const cosigned = new Set(
      this.witnesses.filter(({ verifier }) => labels.has(verifier.label)).map(({ name }) => name),
    );
    // A group has only members that were defined before it, so this ends.
    const witnessed = (name: string): boolean => {
      const group = this.#groups.get(name);
      return group ? group.members.filter(witnessed).length >= group.threshold : cosigned.has(name);
    };
    return witnessed(this.quorum);
  }
}

const NONE = "none";

/** Reads a policy. Whatever is not exactly as specified is refused, with its line: a policy that is not understood protects nobody. */
export function parseWitnessPolicy(file: Uint8Array): WitnessPolicy {
  if (file.length > MAX_POLICY_BYTES) throw malformed(`a policy is longer than ${MAX_POLICY_BYTES} bytes`);
  let text: string;
  try {
    text = decodeUtf8(file);
  } catch (error) {
    throw malformed("a policy is not UTF-8", error);
  }
  // A file that was cut off could still read as a policy, of fewer witnesses than were meant.
  if (!text.endsWith("\n")) throw malformed("a policy does not end with a newline");
  const reader = new PolicyReader();
  for (const [index, line] of text.slice(0, -1).split("\n").entries()) reader.read(line, index + 1);
  return reader.policy();
}

class PolicyReader {
  readonly #logs: PolicyLog[] = [];
  readonly #witnesses: PolicyWitness[] = [];
  readonly #groups = new Map<string, Group>();
  readonly #names = new Set<string>([NONE]);
  /** Names that are in a group: each can be in one only, so that nobody counts twice. */
  readonly #grouped = new Set<string>();
  /** Public keys, of logs and of witnesses: one of each counts, whatever its name. */
  readonly #keys = { log: new Set<string>(), witness: new Set<string>() };
  #quorum: string | undefined;

  read(line: string, number: number): void {
    const refuse = (why: string) => malformed(`line ${number} of the policy: ${why}`);
    const control = controlCharacter(line);
    if (control !== undefined) throw refuse(`it has the control character ${control}`);
    const [keyword, ...fields] = line.split(/[ \t]+/).filter((field) => field !== "");
    if (keyword === undefined || keyword.startsWith("#")) return;
    switch (keyword) {
      case "log":
        this.#log(fields, refuse);
        return;
      case "witness":
        this.#witness(fields, refuse);
        return;
      case "group":
        this.#group(fields, refuse);
        return;
      case "quorum":
        this.#setQuorum(fields, refuse);
        return;
      default:
        throw refuse(`${JSON.stringify(keyword.slice(0, 100))} is not log, witness, group or quorum`);
    }
  }

  policy(): WitnessPolicy {
    if (this.#quorum === undefined) throw malformed("the policy has no quorum line");
    return new WitnessPolicy({
      logs: this.#logs,
      witnesses: this.#witnesses,
      groups: this.#groups,
      quorum: this.#quorum,
    });
  }

  #log([key, url, ...rest]: readonly string[], refuse: Refuse): void {
    if (key === undefined || rest.length > 0) throw refuse("a log line is: log <verifier key> [<url>]");
    this.#logs.push({ verifier: this.#verifier("log", key, refuse), url: parseUrl(url, refuse) });
    if (this.#logs.length > MAX_OF_A_KIND) throw refuse(`there are more than ${MAX_OF_A_KIND} logs`);
  }

  #witness([name, key, url, ...rest]: readonly string[], refuse: Refuse): void {
    if (name === undefined || key === undefined || rest.length > 0) {
      throw refuse("a witness line is: witness <name> <verifier key> [<url>]");
    }
    this.#define(name, refuse);
    this.#witnesses.push({
      name,
      verifier: this.#verifier("witness", key, refuse),
      url: parseUrl(url, refuse),
    });
    if (this.#witnesses.length > MAX_OF_A_KIND) {
      throw refuse(`there are more than ${MAX_OF_A_KIND} witnesses`);
    }
  }

  #group([name, count, ...members]: readonly string[], refuse: Refuse): void {
    if (name === undefined || count === undefined || members.length === 0) {
      throw refuse("a group line is: group <name> <all, any or a number> <member>…");
    }
    for (const member of members) {
      if (member === NONE || !this.#names.has(member)) throw refuse(`${named(member)} is not defined above`);
      if (this.#grouped.has(member)) throw refuse(`${named(member)} is a member of a group already`);
      this.#grouped.add(member);
    }
    // After its members, so that it cannot be one of them.
    this.#define(name, refuse);
    this.#groups.set(name, { threshold: parseThreshold(count, members.length, refuse), members });
    if (this.#groups.size > MAX_OF_A_KIND) throw refuse(`there are more than ${MAX_OF_A_KIND} groups`);
  }

  #setQuorum([name, ...rest]: readonly string[], refuse: Refuse): void {
    if (name === undefined || rest.length > 0) throw refuse("a quorum line is: quorum <name>");
    if (this.#quorum !== undefined) throw refuse("there are two quorum lines");
    if (!this.#names.has(name)) throw refuse(`${named(name)} is not defined above`);
    this.#quorum = name;
  }

  #define(name: string, refuse: Refuse): void {
    if (this.#names.has(name)) {
      throw refuse(name === NONE ? '"none" has a meaning already' : `${named(name)} is defined twice`);
    }
    this.#names.add(name);
  }

  #verifier(kind: "log" | "witness", key: string, refuse: Refuse): NoteVerifier {
    let verifier: NoteVerifier;
    try {
      verifier = NoteVerifier.parse(key);
    } catch (error) {
      throw refuse(error instanceof Error ? error.message : String(error));
    }
    const [algorithm, what] =
      kind === "log"
        ? [ALGORITHM_ED25519, "a log's, Ed25519 (1)"]
        : [ALGORITHM_COSIGNATURE_V1, "a witness's, cosignature/v1 (4)"];
    if (verifier.algorithm !== algorithm) throw refuse(`the key of ${verifier.label} is not ${what}`);
    const publicKey = toHex(verifier.publicKey);
    if (this.#keys[kind].has(publicKey)) throw refuse(`two ${kind} lines have the key of ${verifier.label}`);
    this.#keys[kind].add(publicKey);
    return verifier;
  }
}

/** The first character that a policy must not have: those of ASCII below the space, but for the tab, and DEL. */
function controlCharacter(line: string): number | undefined {
  return [...line]
    .map((character) => character.charCodeAt(0))
    .find((code) => (code < 0x20 && code !== 0x09) || code === 0x7f);
}

type Refuse = (why: string) => TlogError;

function parseThreshold(text: string, members: number, refuse: Refuse): number {
  if (text === "any") return 1;
  if (text === "all") return members;
  const threshold = /^[1-9][0-9]{0,3}$/.test(text) ? Number(text) : 0;
  if (threshold < 1 || threshold > members) {
    throw refuse(`a group of ${members} takes all, any or a number from 1 to ${members}`);
  }
  return threshold;
}

function parseUrl(text: string | undefined, refuse: Refuse): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url && url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  if (!isPlain || !/^https?:$/.test(url.protocol) || text.length > MAX_URL_LENGTH) {
    throw refuse("a URL is http or https, without a query and without a password");
  }
  return text.replace(/\/+$/, "");
}

function named(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

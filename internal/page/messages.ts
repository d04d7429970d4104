// Every word of the page, so that another language is another object of this shape. Numbers, dates and durations come
// formatted (format.ts). What a check found in detail is in the words of internal/tlog, which are English.

export const messages = {
  lang: "en",
  siteTitle: "The public log of an election",
  siteDescription:
    "Every recorded vote has one entry in a public log that can only grow. Nobody can read a vote from it, and nobody can take one out unnoticed. Anyone may check that, here or with tools of their own.",
  withoutScripts:
    "The figures above are from when this page was fetched. Checking a receipt in the browser takes scripts; the files are plain, and the command psephos verify checks them, too.",
  allElections: "All elections of this log server, as JSON",
  loading: "Reading the log …",
  skipToContent: "Skip to the content",
  elections: "Elections",
  noElections: "No election has published anything here yet.",
  noSuchPage: "There is no such page.",
  cannotRead: "The log cannot be read from here.",
  tryAgain: "Try again",

  navigation: "Parts of this page",
  navOverview: "The log",
  navReceipt: "Check my receipt",
  navExplore: "Explore",
  navVerify: "Verify everything",
  navDownloads: "Downloads",

  // What this election is.
  phaseScheduled: (opens: string) => `Voting begins ${opens}.`,
  phaseOpen: "Voting is open.",
  phaseOpenUntil: (closes: string) => `Voting is open until ${closes}.`,
  phaseOver: "Voting has ended. The log has not been closed yet.",
  phaseClosed: (votes: string) =>
    `The log is closed, with ${votes} votes. Nothing can be added to it any more.`,
  choicesHeading: "On the ballot",
  moreChoices: (count: string) => `and ${count} more`,
  howItWorks: (threshold: string, shares: string) =>
    `Each vote is sealed before it is recorded, and only ${threshold} of ${shares} trustees together can open the count. What is public of a vote is one line that stands for it: it shows that the vote is recorded, never how it was cast.`,
  revotingForbidden: "Each voter has one vote. A second one is refused.",
  revotingLastCounts: "A voter may vote again; the last vote counts, and each has an entry in the log.",

  // The log, live.
  liveHeading: "The log, live",
  entriesInLog: "Entries in the log",
  entriesNote: "The first is the election itself; nearly all others are votes.",
  votesInLog: "Votes in the log",
  growth: "In the last minute",
  growthValue: (count: string) => `+${count}`,
  noGrowthValue: "nothing new",
  lastCheckpoint: "Last signed checkpoint",
  ago: (duration: string) => `${duration} ago`,
  justNow: "just now",
  unknownTime: "not known",
  witnesses: "Witnesses",
  witnessesOf: (signed: string, known: string) => `${signed} of ${known} signed`,
  witnessesUnknown: (count: string) => `${count} signatures, of nobody this log names`,
  noWitnesses: "none",
  noWitnessesNote: "No one but the log itself has signed this checkpoint.",
  quorumReached: "As many as the log's own policy asks for.",
  quorumMissed: "Fewer than the log's own policy asks for.",
  uptime: "Answered here",
  uptimeValue: (answered: string, asked: string) => `${answered} of ${asked}`,
  uptimeNote: (since: string) => `How often the log answered this browser since ${since}.`,

  statusGood:
    "The log answers, its signature is right, and since this browser first saw it, it has only grown.",
  statusClosed: "The log is closed, its signature is right, and nothing that this browser saw of it is gone.",
  statusStalled: (age: string, promised: string) =>
    `No new checkpoint for ${age}. This log promises one within ${promised} of each vote: if votes are being cast now, it has stalled.`,
  statusUnreachable: (duration: string) =>
    `The log has not answered for ${duration}. What is shown is the last that was seen.`,
  statusBroken:
    "This log contradicts itself or what this browser saw of it before. Do not rely on it. Keep this message and tell the election's observers.",
  /** For screen readers, when it changes. */
  statusShort: {
    loading: "The log is being read.",
    good: "The log is in order.",
    closed: "The log is closed and in order.",
    stalled: "The log has not published a checkpoint for longer than it promises.",
    unreachable: "The log does not answer.",
    broken: "The log contradicts itself.",
  },
  remembered: (size: string) =>
    `This browser saw the log before, with ${size} entries, and all of them are still in it.`,

  // Growth over time.
  growthHeading: "Turnout over time",
  growthNote:
    "Entries in the published log, by the server's clock. These times are not signed; the sizes are.",
  growthPlotLabel: (from: string, to: string, size: string) =>
    `A rising line: entries in the log from ${from} to ${to}, ending at ${size}. The table below has the figures.`,
  growthTable: "The same as a table",
  tableTime: "Time",
  tableEntries: "Entries",
  noGrowth: "There is nothing to draw yet.",

  // Check my receipt.
  receiptHeading: "Check my receipt",
  receiptIntro:
    "Choose the file that you were given for your vote, or paste its text. It is checked in this browser and sent nowhere. It says that a vote is recorded, and nothing of how it was cast.",
  receiptFile: "Receipt or promise (.tlog-proof, .promise)",
  receiptText: "Or its text",
  receiptCheck: "Check",
  receiptChecking: "Checking …",
  receiptTooLarge: "This file is too large to be a receipt.",
  receiptEmpty: "Choose a file or paste a text first.",
  stepsHeading: "What was checked",
  stepPassed: "passed",
  stepFailed: "failed",
  stepNotReached: "not reached",
  stepUnknown: "could not be asked",
  steps: {
    form: "It is written as a receipt is.",
    entry: "It names the entry of one vote.",
    checkpoint: "This election's log signed the state it refers to.",
    inclusion: "That signed state has the vote's entry, by its hashes.",
    extends: "The log as it is now still has everything that state had.",
    promiseForm: "It is written as a promise is.",
    promiseSignature: "This election's service signed it, for this very vote.",
    promiseKept: "The vote's entry is in the log.",
  },
  verdictReceipt: "This receipt is good.",
  verdictReceiptDetail: (index: string, size: string) =>
    `Your vote is entry ${index} of the log, which has ${size} entries now.`,
  verdictReceiptOffline:
    "The receipt itself is good. Whether the log still has the vote could not be asked just now.",
  verdictForged: "This is not a good receipt of this election.",
  verdictForgedDetail:
    "Step by step below is where it fails. A copy that lost a character fails, too: try the original file.",
  verdictRewritten: "The receipt is good, and the log has been changed since.",
  verdictRewrittenDetail:
    "The log's own signature is on a state that it now denies. Keep this file: together with the log's present checkpoint it proves that. Tell the election's observers.",
  verdictKept: "The promise was kept.",
  verdictPending: "The promise is genuine, and not due yet.",
  verdictPendingDetail: (due: string) => `The vote has to be in the log by ${due}.`,
  verdictBroken: "The promise is genuine, and was not kept.",
  verdictBrokenDetail: "Keep the file: it proves that. Tell the election's observers.",
  verdictNoPromises: "This election makes no promises: the file is of another one.",
  verdictPromiseOffline: "The promise is genuine. Whether it was kept could not be asked just now.",
  seeEntry: "See the entry in the log",
  technicalReason: "In the words of the check:",
  searching: (done: string, total: string) => `Looking through the whole log: ${done} of ${total}`,
  factsHeading: "What it says",
  factShard: "Shard",
  factSequence: "Number in the shard",
  factIndex: "Index in the log",
  factRecordHash: "Record hash",
  factCheckpoint: "Signed when the log had",
  factEntries: (count: string) => `${count} entries`,
  factWitnesses: "Witnesses that signed it",

  // Explore.
  exploreHeading: "Explore the log",
  exploreIntro:
    "A checkpoint signs one hash, the root. The root covers tiles of hashes, those cover more tiles, and the lowest cover the entries. Everything shown here was checked against the signature first.",
  newestCheckpoint: "Newest checkpoint",
  numberedCheckpoints: "Numbered checkpoints",
  numberedIntro: "One at every 10,000 entries, kept for good.",
  checkpointNumber: "Number",
  checkpointSize: "Entries",
  show: "Show",
  noNumbered: "There is none yet.",
  checkpointTitle: (number: string) => `Checkpoint ${number}`,
  signedText: "The signed text, as it is",
  signatureGood: "The signature is by the log's own key.",
  root: "Root",
  size: "Size",
  tilesFromRoot: "From the root down",
  tileOf: (level: string, index: string) => `Tile ${index} of level ${level}`,
  tileCovers: (first: string, last: string) => `covers entries ${first} to ${last}`,
  tileVerified: (count: string) => `These ${count} hashes were found under the signed root.`,
  tileEach: (entries: string) => `Each stands for ${entries} entries.`,
  tileEachOne: "Each stands for one entry.",
  entryTitle: (index: string) => `Entry ${index}`,
  entryLeaf: "Leaf hash",
  entryBytes: "Bytes",
  entryType: "What it is",
  entryTypes: {
    manifest: "The election's definition",
    vote: "A vote",
    event: "Something that happened to the storage",
    closing: "The closing of the log",
    unknown: "Not an entry of a known form",
  },
  entryProof: "The hashes that lead from it to the root",
  entryProven: "Checked: the entry hashes to the signed root, by the hashes below.",
  goToEntry: "Go to an entry",
  entryIndex: "Index, from 0",
  previous: "Previous",
  next: "Next",
  rawFile: "The file itself",
  doesNotVerify: "This does not verify.",
  path: "You are here",

  // Verify the whole log.
  verifyHeading: "Verify the whole log here",
  verifyIntro:
    "This browser reads every entry and every tile, computes every hash again, and compares the result with the signature: the same check that psephos verify does. It takes about as long as fetching the files.",
  verifyAmount: (entries: string, megabytes: string) => `${entries} entries, about ${megabytes} MB.`,
  verifyStart: "Verify",
  verifyStop: "Stop",
  verifyRunning: "Verifying",
  verifyProgress: (done: string, total: string) => `${done} of ${total} entries`,
  verifyGood: "All of it is right.",
  verifyGoodDetail: (entries: string, seconds: string, rate: string) =>
    `${entries} entries in ${seconds} seconds, ${rate} a second.`,
  verifyBad: (count: string) => `${count} problems were found.`,
  verifyBadOne: "One problem was found.",
  verifyFailed: "It could not be finished.",
  verifyStopped: "Stopped. Nothing can be said of the log.",
  verifyNotChecked: "Not checked:",
  verifyPageNote:
    "Whoever serves this page could serve one that lies. If you do not trust them, open it from somebody who keeps a copy of the log, or run psephos verify.",
  verifyKeyNote:
    "The key is the one that the log's own manifest names. Compare it with one you have from elsewhere: on paper, from an observer, from a newspaper.",
  problemObject: "File",
  problemWhat: "What is wrong",

  // Downloads.
  downloadsHeading: "Downloads",
  downloadsIntro:
    "All of the log is plain files. Whoever copies them has the whole log, and can serve it and check it.",
  downloadCheckpoint: "The newest signed checkpoint",
  downloadManifest: "The election's definition (manifest)",
  downloadHistory: "How the log grew",
  downloadDescription: "Description of the log: keys and addresses of its parts",
  downloadClosing: "The closing report",
  downloadIndex: "All elections here",
  downloadEntries: "The first entries",
  keyHeading: "The log's key",
  keyNote: "With this key alone, receipts and the whole log can be checked offline.",
  manifestHash: "SHA-256 of the manifest",
  otherTools: "With other tools",
  otherToolsNote:
    "The log follows C2SP tlog-tiles, so tools for transparency logs read it. The project's own command checks all of it:",
  permalink: "Link to this page",
  footer:
    "This page sends nothing to anybody and sets no cookie. It remembers one thing in this browser: the last checkpoint it saw.",
} as const;

/** What a translation has to have. */
export type Messages = { readonly [Key in keyof typeof messages]: Shape<(typeof messages)[Key]> };
type Shape<T> = T extends string
  ? string
  : T extends (...values: infer Values) => string
    ? (...values: Values) => string
    : { readonly [Key in keyof T]: Shape<T[Key]> };

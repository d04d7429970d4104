import { type Browser, chromium as playwright } from "playwright-core";
import { type GetOptions, onPath, summary } from "./outside-program.ts";
import { runProgram } from "./run-program.ts";

export interface Chromium {
  readonly program: string;
  /** Such as "Chromium 156.0.8078.114". */
  readonly version: string;
}

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/** A package of 100 MB and what it needs, over a slow line. */
const LIMIT_MS = 900_000;

/** Finds a Chromium to test the page in, or gets one: `$PSEPHOS_CHROMIUM`, PATH, and, for root, apt. */
export async function findChromium(options: GetOptions = {}): Promise<Chromium> {
  const chosen = process.env.PSEPHOS_CHROMIUM;
  if (chosen) {
    const chromium = await usable(chosen);
    if (chromium === undefined) throw new Error(`PSEPHOS_CHROMIUM: ${chosen} is no Chromium that runs here`);
    return chromium;
  }
  for (const name of NAMES) {
    const chromium = await usable(await onPath(name));
    if (chromium !== undefined) return chromium;
  }
  let reason = "what was installed does not run here";
  try {
    const chromium = await usable(await fromApt(options));
    if (chromium !== undefined) return chromium;
  } catch (error) {
    options.signal?.throwIfAborted();
    reason = summary(error);
  }
  throw new Error(
    [
      `no Chromium, and none could be installed: ${reason}`,
      "Install Chromium or Chrome so that it is on PATH, or name it in PSEPHOS_CHROMIUM.",
    ].join("\n"),
  );
}

/** A browser without a window, closed with its `close`. */
export async function openBrowser(): Promise<Browser> {
  const { program } = await findChromium();
  // Its sandbox takes rights that root in a container lacks. What it opens here is our own.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return playwright.launch({ executablePath: program, args });
}

async function fromApt({ progress = () => {}, signal }: GetOptions): Promise<string | undefined> {
  const apt = await onPath("apt-get");
  if (apt === undefined || process.getuid?.() !== 0) {
    throw new Error("apt-get is not there, or we are not root");
  }
  progress("installing Chromium with apt-get, once for this machine (about two minutes)");
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  await runProgram({ file: apt, args: ["update", "-qq"], env, timeoutMs: LIMIT_MS, signal });
  // Text without a font has no width: what is tested of the layout would be nothing.
  const what = ["install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"];
  await runProgram({ file: apt, args: what, env, timeoutMs: LIMIT_MS, signal });
  return onPath("chromium");
}

async function usable(program: string | undefined): Promise<Chromium | undefined> {
  if (program === undefined) return undefined;
  try {
    const output = await runProgram({ file: program, args: ["--version"], timeoutMs: 30_000 });
    const version = /^(?:Chromium|Google Chrome) \d+[\d.]*/.exec(output)?.[0];
    return version === undefined ? undefined : { program, version };
  } catch {
    return undefined;
  }
}

import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("reaper.sh", import.meta.url));

/** The signal an orphan gets: TERM where it should end in order, QUIT for Postgres's immediate shutdown. */
export type LastSignal = "TERM" | "QUIT" | "KILL";

let reaper: ChildProcess | undefined;

/**
 * Ties a child's life to this process: when this process is gone, however it ended, the child gets `signal`, and so
 * does its process group, which it must lead (`detached`). Call it in the same turn of the event loop as `spawn`. Returns the function that ends the tie, for when the child
 * has exited and its process id may become somebody else's.
 *
 * Why a third process: a child cannot be told by the kernel on every system that its parent died (prctl is Linux's
 * and out of Node's reach), and Postgres and nats-server read nothing from a pipe of ours.
 */
export function tether(pid: number, signal: LastSignal): () => void {
  reaper ??= startReaper();
  const pipe = reaper.stdin;
  pipe?.write(`watch ${pid} ${signal}\n`);
  return () => pipe?.write(`forget ${pid}\n`);
}

function startReaper(): ChildProcess {
  // Detached: its own session, out of reach of the terminal's signals and of a kill of our process group.
  const child = spawn("/bin/sh", [script], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  child.once("exit", () => {
    reaper = undefined;
  });
  child.on("error", () => {}); // Without /bin/sh nothing else here would run either.
  child.stdin.on("error", () => {}); // EPIPE, if somebody killed it.
  // It must not keep this process alive: that is the other way round.
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  return child;
}

import { useCallback, useEffect, useState } from "preact/hooks";
import { messageOf } from "../core/errors.ts";
import type { Election } from "./election.ts";
import { followLog, type LogState } from "./follow-log.ts";
import { parseRoute, type Route } from "./route.ts";

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return parseRoute(hash);
}

/** The time, every second. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

export type Loaded<T> =
  | { readonly state: "loading" }
  | { readonly state: "loaded"; readonly value: T }
  | { readonly state: "failed"; readonly reason: string; readonly retry: () => void };

/** What `load` resolves to, for as long as `inputs` stay as they are. What an older call answers late is dropped. */
export function useLoaded<T>(load: () => Promise<T>, inputs: readonly unknown[]): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T>>({ state: "loading" });
  const [attempt, setAttempt] = useState(0);
  const retry = useCallback(() => setAttempt((before) => before + 1), []);
  useEffect(() => {
    let current = true;
    setLoaded({ state: "loading" });
    load().then(
      (value) => current && setLoaded({ state: "loaded", value }),
      (error: unknown) => current && setLoaded({ state: "failed", reason: messageOf(error), retry }),
    );
    return () => {
      current = false;
    };
  }, [...inputs, attempt]);
  return loaded;
}

/** The state of an election's log, followed for as long as it is shown. */
export function useLog(election: Election): LogState | undefined {
  const [state, setState] = useState<LogState>();
  useEffect(() => {
    const ending = new AbortController();
    setState(undefined);
    void followLog({ election, onChange: setState, memory: localMemory(), signal: ending.signal });
    return () => ending.abort();
  }, [election]);
  return state;
}

/** A browser that is told to keep nothing refuses even to be asked. */
function localMemory(): Pick<Storage, "getItem" | "setItem"> {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}

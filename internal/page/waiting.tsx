import type { JSX } from "preact";
import type { Loaded } from "./hooks.ts";
import { messages } from "./messages.ts";

/** What stands in the place of something that is not there yet, or cannot be. */
export function Waiting({ for: loaded }: { readonly for: Loaded<unknown> }): JSX.Element | null {
  if (loaded.state === "loaded") return null;
  if (loaded.state === "loading") return <p role="status">{messages.loading}</p>;
  return (
    <div class="notice bad" role="alert">
      <p>{messages.cannotRead}</p>
      <p class="reason">{loaded.reason}</p>
      <button type="button" onClick={loaded.retry}>
        {messages.tryAgain}
      </button>
    </div>
  );
}

import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { BLOCK_ENTRIES } from "../evidence/layout.ts";
import type { OpenedCheckpoint } from "../tlog/checkpoint.ts";
import { TileReader } from "../tlog/tile-reader.ts";
import { CheckpointView } from "./checkpoint-view.tsx";
import { addressOf, type Election, sourceOf } from "./election.ts";
import { EntryView } from "./entry-view.tsx";
import type { SeenCheckpoint } from "./follow-log.ts";
import { formatNumber } from "./format.ts";
import { useLoaded } from "./hooks.ts";
import { messages } from "./messages.ts";
import { readCheckpoint } from "./open-checkpoint.ts";
import { type CheckpointName, linkTo, type View } from "./route.ts";
import { TileView } from "./tile-view.tsx";
import { Waiting } from "./waiting.tsx";

/** The newest of the numbered checkpoints; the others have numbers. */
const MAX_LISTED = 10;

interface ExploreProps {
  readonly election: Election;
  readonly seen: SeenCheckpoint | undefined;
  readonly route: View;
}

export function Explore({ election, seen, route }: ExploreProps): JSX.Element {
  if (route.view === "checkpoint" || route.view === "tile" || route.view === "entry") {
    return <OfCheckpoint election={election} route={route} />;
  }
  return <Checkpoints election={election} seen={seen} />;
}

function Checkpoints({ election, seen }: Omit<ExploreProps, "route">): JSX.Element {
  const size = seen?.checkpoint.size ?? 0;
  // Of an unfinished block there is none, and the closing entry finishes the last one.
  const count = seen?.closing ? Math.ceil(size / BLOCK_ENTRIES) : Math.floor(size / BLOCK_ENTRIES);
  const listed = Array.from({ length: Math.min(count, MAX_LISTED) }, (_, index) => count - index);
  return (
    <section>
      <h2>{messages.exploreHeading}</h2>
      <p>{messages.exploreIntro}</p>
      <p>
        <a class="button" href={linkTo(election.id, { view: "checkpoint", checkpoint: "latest" })}>
          {messages.newestCheckpoint}
        </a>
      </p>
      <GoTo
        id="go-to-entry"
        label={messages.goToEntry}
        help={messages.entryIndex}
        from={0}
        to={size - 1}
        link={(index) => linkTo(election.id, { view: "entry", checkpoint: "latest", index })}
      />
      <h2>{messages.numberedCheckpoints}</h2>
      <p>{messages.numberedIntro}</p>
      {count === 0 ? (
        <p>{messages.noNumbered}</p>
      ) : (
        <>
          <table>
            <thead>
              <tr>
                <th scope="col">{messages.checkpointNumber}</th>
                <th scope="col" class="number">
                  {messages.checkpointSize}
                </th>
              </tr>
            </thead>
            <tbody>
              {listed.map((number) => (
                <tr key={number}>
                  <td>
                    <a href={linkTo(election.id, { view: "checkpoint", checkpoint: number })}>
                      {messages.checkpointTitle(formatNumber(number))}
                    </a>
                  </td>
                  <td class="number">{formatNumber(Math.min(number * BLOCK_ENTRIES, size))}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {count > MAX_LISTED && (
            <GoTo
              id="go-to-checkpoint"
              label={messages.numberedCheckpoints}
              help={messages.checkpointNumber}
              from={1}
              to={count}
              link={(checkpoint) => linkTo(election.id, { view: "checkpoint", checkpoint })}
            />
          )}
        </>
      )}
    </section>
  );
}

interface GoToProps {
  readonly id: string;
  readonly label: string;
  readonly help: string;
  readonly from: number;
  readonly to: number;
  readonly link: (number: number) => string;
}

/** A number, and where it leads. */
function GoTo({ id, label, help, from, to, link }: GoToProps): JSX.Element {
  return (
    <form
      class="inline"
      aria-label={label}
      onSubmit={(event) => {
        event.preventDefault();
        const number = new FormData(event.currentTarget).get("number");
        location.hash = link(Number(number));
      }}
    >
      <label for={id}>
        {label} <span class="note">({help})</span>
      </label>
      <input id={id} name="number" type="number" required min={from} max={Math.max(from, to)} />
      <button type="submit">{messages.show}</button>
    </form>
  );
}

/** A signed state of the log, and what can be read below it. */
export interface OpenTree extends OpenedCheckpoint {
  readonly name: CheckpointName;
  readonly note: string;
  readonly address: string;
  readonly reader: TileReader;
}

type Below = Extract<View, { readonly checkpoint: CheckpointName }>;

function OfCheckpoint({
  election,
  route,
}: {
  readonly election: Election;
  readonly route: Below;
}): JSX.Element {
  // The newest one as it was when it was asked for: what one looks at does not grow meanwhile.
  const opened = useLoaded(() => openTree(election, route.checkpoint), [election, route.checkpoint]);
  const tree = useMemo(() => (opened.state === "loaded" ? opened.value : undefined), [opened]);
  if (!tree) return <Waiting for={opened} />;
  switch (route.view) {
    case "checkpoint":
      return <CheckpointView election={election} tree={tree} />;
    case "tile":
      return <TileView election={election} tree={tree} level={route.level} index={route.index} />;
    case "entry":
      return <EntryView election={election} tree={tree} index={route.index} />;
  }
}

async function openTree(election: Election, name: CheckpointName): Promise<OpenTree> {
  const path = name === "latest" ? "checkpoint" : `checkpoints/${String(name).padStart(10, "0")}`;
  const opened = await readCheckpoint(election, path);
  const reader = new TileReader({ fetch: sourceOf(election), ...opened.checkpoint });
  return { ...opened, name, address: addressOf(election, path), reader };
}

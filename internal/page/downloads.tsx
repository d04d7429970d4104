import type { JSX } from "preact";
import { toHex } from "../core/bytes.ts";
import { tilePath, tileWidthAt } from "../tlog/tile.ts";
import { addressOf, type Election } from "./election.ts";
import type { SeenCheckpoint } from "./follow-log.ts";
import { messages } from "./messages.ts";
import { linkTo } from "./route.ts";

interface DownloadsProps {
  readonly election: Election;
  readonly seen: SeenCheckpoint | undefined;
}

export function Downloads({ election, seen }: DownloadsProps): JSX.Element {
  const entries = tilePath("entries", 0, tileWidthAt(Math.max(1, seen?.checkpoint.size ?? 1), 0, 0));
  const files: readonly (readonly [path: string, name: string])[] = [
    ["checkpoint", messages.downloadCheckpoint],
    ["manifest.json", messages.downloadManifest],
    ["log.json", messages.downloadDescription],
    ["history.json", messages.downloadHistory],
    [entries, messages.downloadEntries],
    ...(seen?.closing ? [["closing.json", messages.downloadClosing] as const] : []),
    ["../index.json", messages.downloadIndex],
  ];
  const permalink = new URL(linkTo(election.id, { view: "overview" }), election.base).href;
  const command = `psephos verify --election ${election.id} --public ${election.base} --log-key '${election.key}'`;
  return (
    <>
      <section>
        <h2>{messages.downloadsHeading}</h2>
        <p>{messages.downloadsIntro}</p>
        <ul>
          {files.map(([path, name]) => (
            <li key={path}>
              <a href={addressOf(election, path)}>{name}</a>
            </li>
          ))}
        </ul>
        <p>
          {messages.permalink}: <a href={permalink}>{permalink}</a>
        </p>
      </section>
      <section>
        <h2>{messages.keyHeading}</h2>
        <p>{messages.keyNote}</p>
        <p>
          <code class="key">{election.key.toString()}</code>
        </p>
        <p>{messages.manifestHash}</p>
        <p>
          <code class="key">{toHex(election.manifestHash)}</code>
        </p>
      </section>
      <section>
        <h2>{messages.otherTools}</h2>
        <p>{messages.otherToolsNote}</p>
        <p>
          <code class="key">{command}</code>
        </p>
      </section>
    </>
  );
}

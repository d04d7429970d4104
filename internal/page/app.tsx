import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { ElectionId } from "../core/ids.ts";
import { Downloads } from "./downloads.tsx";
import { type Election, listElections, openElection } from "./election.ts";
import { Explore } from "./explore.tsx";
import { useLoaded, useLog, useRoute } from "./hooks.ts";
import { messages } from "./messages.ts";
import { Overview } from "./overview.tsx";
import { ReceiptCheck } from "./receipt-check.tsx";
import { linkTo, type Route, type View } from "./route.ts";
import { Waiting } from "./waiting.tsx";
import { WholeLog } from "./whole-log.tsx";

/** `base`: where index.json and the folders of elections are. */
export function App({ base }: { readonly base: string }): JSX.Element {
  const route = useRoute();
  if (route.view === "unknown") return <Page title={messages.noSuchPage} />;
  return route.view === "elections" ? (
    <Elections base={base} />
  ) : (
    <OfElection base={base} id={route.election} route={route} />
  );
}

function Elections({ base }: { readonly base: string }): JSX.Element {
  const elections = useLoaded(() => listElections(base), [base]);
  if (elections.state !== "loaded") {
    return (
      <Page title={messages.siteTitle}>
        <Waiting for={elections} />
      </Page>
    );
  }
  const [only, ...others] = elections.value;
  if (only !== undefined && others.length === 0) {
    return <OfElection base={base} id={only} route={{ view: "overview" }} />;
  }
  return (
    <Page title={messages.siteTitle}>
      <p class="lead">{messages.siteDescription}</p>
      <h2>{messages.elections}</h2>
      {only === undefined ? (
        <p>{messages.noElections}</p>
      ) : (
        <ul>
          {elections.value.map((id) => (
            <li key={id}>
              <a href={linkTo(id, { view: "overview" })}>{id}</a>
            </li>
          ))}
        </ul>
      )}
    </Page>
  );
}

interface OfElectionProps {
  readonly base: string;
  readonly id: ElectionId;
  readonly route: View;
}

function OfElection({ base, id, route }: OfElectionProps): JSX.Element {
  const election = useLoaded(() => openElection(base, id), [base, id]);
  if (election.state === "loaded") return <ElectionPage election={election.value} route={route} />;
  return (
    <Page title={id}>
      <Waiting for={election} />
    </Page>
  );
}

function ElectionPage({
  election,
  route,
}: {
  readonly election: Election;
  readonly route: View;
}): JSX.Element {
  const log = useLog(election);
  return (
    <Page
      title={election.manifest.title}
      navigation={<Navigation election={election.id} view={route.view} />}
    >
      <CurrentView election={election} log={log} route={route} />
    </Page>
  );
}

function CurrentView({
  election,
  log,
  route,
}: {
  readonly election: Election;
  readonly log: ReturnType<typeof useLog>;
  readonly route: View;
}): JSX.Element {
  switch (route.view) {
    case "overview":
      return <Overview election={election} log={log} />;
    case "receipt":
      return <ReceiptCheck election={election} seen={log?.seen} />;
    case "verify":
      return <WholeLog election={election} seen={log?.seen} />;
    case "downloads":
      return <Downloads election={election} seen={log?.seen} />;
    default:
      return <Explore election={election} seen={log?.seen} route={route} />;
  }
}

const NAVIGATION = [
  ["overview", messages.navOverview],
  ["receipt", messages.navReceipt],
  ["explore", messages.navExplore],
  ["verify", messages.navVerify],
  ["downloads", messages.navDownloads],
] as const;

function Navigation({
  election,
  view,
}: {
  readonly election: ElectionId;
  readonly view: Route["view"];
}): JSX.Element {
  const current = NAVIGATION.some(([name]) => name === view) ? view : "explore";
  return (
    <nav aria-label={messages.navigation}>
      <ul>
        {NAVIGATION.map(([name, label]) => (
          <li key={name}>
            <a href={linkTo(election, { view: name })} aria-current={name === current ? "page" : undefined}>
              {label}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

interface PageProps {
  readonly title: string;
  readonly navigation?: ComponentChildren;
  readonly children?: ComponentChildren;
}

function Page({ title, navigation, children }: PageProps): JSX.Element {
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    document.title = title === messages.siteTitle ? title : `${title} – ${messages.siteTitle}`;
  }, [title]);
  useEffect(() => {
    // A screen reader goes on from what is new; for everybody else it is at the top.
    const moved = () => {
      scrollTo({ top: 0 });
      main.current?.focus({ preventScroll: true });
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return (
    <>
      {/* No link: the address after `#` is the route. */}
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        {messages.skipToContent}
      </button>
      <header class="page">
        <p class="site">{messages.siteTitle}</p>
        <h1>{title}</h1>
        {navigation}
      </header>
      <main class="page" ref={main} tabIndex={-1}>
        {children}
      </main>
      <footer class="page">
        <p>{messages.footer}</p>
      </footer>
    </>
  );
}

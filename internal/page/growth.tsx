import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Point } from "./follow-log.ts";
import { formatMoment, formatNumber } from "./format.ts";
import { messages } from "./messages.ts";

const HEIGHT = 240;
/** A table of a whole day's minutes is for programs, which have history.json. */
const MAX_ROWS = 48;

/** How the log grew, as a line and as a table. */
export function Growth({ points }: { readonly points: readonly Point[] }): JSX.Element {
  const [first, last] = [points[0], points.at(-1)];
  return (
    <section>
      <h2>{messages.growthHeading}</h2>
      {first && last && points.length > 1 ? (
        <>
          <Plot
            points={points}
            label={messages.growthPlotLabel(
              formatMoment(first[0] * 1000),
              formatMoment(last[0] * 1000),
              formatNumber(last[1]),
            )}
          />
          <p class="note">{messages.growthNote}</p>
          <details>
            <summary>{messages.growthTable}</summary>
            <Table points={thinned(points)} />
          </details>
        </>
      ) : (
        <p>{messages.noGrowth}</p>
      )}
    </section>
  );
}

function Table({ points }: { readonly points: readonly Point[] }): JSX.Element {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">{messages.tableTime}</th>
          <th scope="col" class="number">
            {messages.tableEntries}
          </th>
        </tr>
      </thead>
      <tbody>
        {points.map(([at, size]) => (
          <tr key={size}>
            <td>
              <time dateTime={new Date(at * 1000).toISOString()}>{times(points).format(at * 1000)}</time>
            </td>
            <td class="number">{formatNumber(size)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The last of each run of points, the newest always among them. */
function thinned(points: readonly Point[]): readonly Point[] {
  const step = Math.ceil(points.length / MAX_ROWS);
  return points.filter((_, index) => (points.length - 1 - index) % step === 0);
}

/** Of a log of less than a day, the time of day says it; otherwise the day, too. */
function times(points: readonly Point[]): Intl.DateTimeFormat {
  const seconds = (points.at(-1)?.[0] ?? 0) - (points[0]?.[0] ?? 0);
  if (seconds < 600) return TIMES.seconds;
  return seconds < 86_400 ? TIMES.minutes : TIMES.days;
}

/** How far times on the axis may be apart: what clocks and calendars are divided by. */
const SECONDS = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200],
  ...[86_400, 172_800, 604_800],
];

const TIMES = {
  seconds: new Intl.DateTimeFormat(messages.lang, { timeStyle: "medium" }),
  minutes: new Intl.DateTimeFormat(messages.lang, { timeStyle: "short" }),
  days: new Intl.DateTimeFormat(messages.lang, {
    month: "short",
    day: "numeric",
    hour: "numeric",
    minute: "2-digit",
  }),
};

function Plot({ points, label }: { readonly points: readonly Point[]; readonly label: string }): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const data = (): uPlot.AlignedData => [points.map(([at]) => at), points.map(([, size]) => size)];

  useEffect(() => {
    const { current: element } = place;
    if (!element) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsFor(element), plot.current?.data ?? data(), element);
    };
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(() =>
      plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    draw();
    dark.addEventListener("change", draw);
    resized.observe(element);
    return () => {
      dark.removeEventListener("change", draw);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, []);
  useEffect(() => plot.current?.setData(data()), [points]);

  return <div class="plot" ref={place} role="img" aria-label={label} />;
}

function optionsFor(element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name);
  const axis: uPlot.Axis = {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    font: `13px ${style.fontFamily}`,
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    // Half of the last time of day, at the right.
    padding: [16, 40, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    axes: [
      {
        ...axis,
        // Room for a time of day, which says no less than a second.
        space: 80,
        incrs: SECONDS,
        size: 32,
        values: (self, splits) => {
          const [from = 0, to = 0] = [self.scales.x?.min, self.scales.x?.max];
          const format = times([
            [from, 0],
            [to, 0],
          ]);
          return splits.map((at) => format.format(at * 1000));
        },
      },
      // As wide as the longest figure, which is not known before it is drawn.
      {
        ...axis,
        size: (_, values) => 16 + 8 * Math.max(4, ...(values ?? []).map(({ length }) => length)),
        values: (_, splits) => splits.map(formatNumber),
      },
    ],
    scales: { y: { range: (_, __, most) => [0, most * 1.05] } },
    series: [
      {},
      {
        stroke: color("--accent"),
        fill: color("--accent-faint"),
        width: 2,
        points: { show: false },
      },
    ],
  };
}

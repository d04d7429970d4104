import {
  collectDefaultMetrics,
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
  Registry,
} from "prom-client";

// The metric types as services see them: prom-client's own, less what nobody needs. Label values come from small,
// closed sets (a shard, an instance, a method, an outcome): each new value is a time series that stays for good.

type Labels<L extends string> = Readonly<Record<L, string | number>>;

/** Counts what happened; only goes up. */
export interface Counter<L extends string = never> {
  inc(value?: number): void;
  inc(labels: Labels<L>, value?: number): void;
}

/** A value that goes up and down. */
export interface Gauge<L extends string = never> {
  set(value: number): void;
  set(labels: Labels<L>, value: number): void;
}

/** A distribution, usually of seconds. */
export interface Histogram<L extends string = never> {
  observe(value: number): void;
  observe(labels: Labels<L>, value: number): void;
}

export interface MetricOptions<L extends string> {
  /** In snake case and with the unit as its suffix: `psephos_audit_sealed_entries_total`. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly L[];
}

export interface GaugeOptions<L extends string> extends MetricOptions<L> {
  /** Called at each scrape, for values that are cheaper to read than to keep. */
  readonly collect?: (gauge: Gauge<L>) => void;
}

export interface HistogramOptions<L extends string> extends MetricOptions<L> {
  readonly buckets?: readonly number[];
}

/** Seconds, from a call within the process to the longest deadline. */
export const LATENCY_BUCKETS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** A process's metrics. Each process, and each test, has its own; nothing is global. */
export class Metrics {
  readonly #registry = new Registry();

  constructor(options: { readonly service: string }) {
    this.#registry.setDefaultLabels({ service: options.service });
    // CPU, memory, event-loop lag, garbage collection, file descriptors.
    collectDefaultMetrics({ register: this.#registry });
  }

  counter<L extends string = never>(options: MetricOptions<L>): Counter<L> {
    return new PromCounter({ ...this.#common(options) });
  }

  gauge<L extends string = never>(options: GaugeOptions<L>): Gauge<L> {
    const { collect } = options;
    const gauge: PromGauge<L> = new PromGauge({
      ...this.#common(options),
      ...(collect ? { collect: () => collect(gauge) } : {}),
    });
    return gauge;
  }

  histogram<L extends string = never>(options: HistogramOptions<L>): Histogram<L> {
    return new PromHistogram({
      ...this.#common(options),
      buckets: [...(options.buckets ?? LATENCY_BUCKETS)],
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything in the Prometheus text format. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #common<L extends string>(options: MetricOptions<L>) {
    return {
      name: options.name,
      help: options.help,
      labelNames: options.labels ?? [],
      registers: [this.#registry],
    };
  }
}

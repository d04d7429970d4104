import { createServer } from "node:http";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { createLogger } from "./logger.ts";
import { Metrics } from "./metrics.ts";
import { MetricsServer } from "./metrics-server.ts";

const logger = createLogger({ service: "test", level: "silent" });

test("declared metrics and the process's own are rendered with the service's name", async () => {
  const metrics = new Metrics({ service: "audit-service" });
  const sealed = metrics.counter({
    name: "psephos_sealed_total",
    help: "Entries sealed.",
    labels: ["election"],
  });
  sealed.inc({ election: "e-1" });
  sealed.inc({ election: "e-1" }, 41);
  const plain = metrics.counter({ name: "psephos_plain_total", help: "No labels." });
  plain.inc();
  plain.inc(2);
  let depth = 5;
  metrics.gauge({ name: "psephos_depth", help: "Read at the scrape.", collect: (gauge) => gauge.set(depth) });
  const latency = metrics.histogram({ name: "psephos_seconds", help: "Latency.", buckets: [0.1, 1] });
  latency.observe(0.05);
  latency.observe(0.5);
  depth = 6;

  const text = await metrics.render();
  expect(text).toContain('psephos_sealed_total{election="e-1",service="audit-service"} 42\n');
  expect(text).toContain('psephos_plain_total{service="audit-service"} 3\n');
  expect(text).toContain('psephos_depth{service="audit-service"} 6\n');
  expect(text).toContain('psephos_seconds_bucket{le="0.1",service="audit-service"} 1\n');
  expect(text).toContain('psephos_seconds_bucket{le="1",service="audit-service"} 2\n');
  expect(text).toContain("# TYPE process_cpu_seconds_total counter\n");
  expect(text).toContain("nodejs_eventloop_lag_seconds");
});

test("two processes' metrics, and two tests', do not meet", () => {
  const declare = () => new Metrics({ service: "s" }).counter({ name: "psephos_twice_total", help: "h" });
  declare();
  expect(declare).not.toThrow();
});

test("a name declared twice in one process is a mistake", () => {
  const metrics = new Metrics({ service: "s" });
  metrics.counter({ name: "psephos_twice_total", help: "h" });
  expect(() => metrics.counter({ name: "psephos_twice_total", help: "h" })).toThrow(
    /already been registered/,
  );
});

test("the server answers GET /metrics and /livez on loopback, and nothing else", async () => {
  await using server = await MetricsServer.listen({
    metrics: new Metrics({ service: "s" }),
    port: 0,
    logger,
  });
  expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);

  const metrics = await fetch(`${server.url}/metrics`);
  expect(metrics.status).toBe(200);
  expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await metrics.text()).toContain("process_cpu_seconds_total");

  const live = await fetch(`${server.url}/livez?verbose`);
  expect([live.status, await live.text()]).toEqual([200, "ok\n"]);
  expect((await fetch(`${server.url}/`)).status).toBe(404);
  const post = await fetch(`${server.url}/metrics`, { method: "POST", body: "x" });
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});

test("a failing collector is a 500 without its text, and the server goes on", async () => {
  const metrics = new Metrics({ service: "s" });
  metrics.gauge({
    name: "psephos_bad",
    help: "h",
    collect: () => {
      throw new Error("secret detail");
    },
  });
  await using server = await MetricsServer.listen({ metrics, port: 0, logger });
  const response = await fetch(`${server.url}/metrics`);
  expect([response.status, await response.text()]).toEqual([500, "internal error\n"]);
  expect((await fetch(`${server.url}/livez`)).status).toBe(200);
});

test("a taken port is an error at start", async () => {
  await using first = await MetricsServer.listen({ metrics: new Metrics({ service: "s" }), port: 0, logger });
  const port = Number(new URL(first.url).port);
  await expect(
    MetricsServer.listen({ metrics: new Metrics({ service: "s" }), port, logger }),
  ).rejects.toMatchObject({ code: "EADDRINUSE" });
});

test("disposing closes idle connections and frees the port", async () => {
  const server = await MetricsServer.listen({ metrics: new Metrics({ service: "s" }), port: 0, logger });
  const port = Number(new URL(server.url).port);
  const idle = connect(port, "127.0.0.1");
  const ended = new Promise((resolve) => idle.once("close", resolve));
  idle.on("error", () => {});
  await new Promise((resolve) => idle.once("connect", resolve));
  await server[Symbol.asyncDispose]();
  await ended;

  const next = createServer();
  await new Promise<void>((resolve, reject) => next.once("error", reject).listen(port, "127.0.0.1", resolve));
  await new Promise((resolve) => next.close(resolve));
});

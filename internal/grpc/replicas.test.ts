import { expect, test } from "vitest";
import { ECHO, Mesh, TestService } from "./service.fixture.ts";

test("replicas take calls in turn, and an idempotent call does not notice that one stops", async () => {
  await using mesh = await Mesh.create();
  const counts = [0, 0];
  const serve = async (index: number) => {
    mesh.port = 0;
    const unary: typeof ECHO.unary = (request) => {
      counts[index] = (counts[index] ?? 0) + 1;
      return request;
    };
    return { server: await mesh.serve({ ...ECHO, unary }), port: mesh.port };
  };
  const replicas = [await serve(0), await serve(1)] as const;
  const address = `ipv4:${replicas.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  const client = await mesh.client({ address, idempotent: [TestService.method.unary] });
  // The first calls go to whichever replica is connected first.
  await expect.poll(async () => (await client.unary({})) && Math.min(...counts)).toBeGreaterThan(0);
  counts.fill(0);
  for (let i = 0; i < 20; i++) await client.unary({});
  expect(counts).toEqual([10, 10]);

  const calls = Array.from({ length: 100 }, () => client.unary({}));
  await Promise.all([replicas[0].server.stop({ graceMs: 500 }), ...calls]);
  counts.fill(0);
  for (let i = 0; i < 20; i++) await client.unary({});
  expect(counts).toEqual([0, 20]);
});

test("a name is looked up", async () => {
  await using mesh = await Mesh.create();
  await mesh.serve();
  const client = await mesh.client({ address: `dns:///localhost:${mesh.port}` });
  await client.unary({});
});

import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { expect, it, onTestFinished } from "vitest";

import { client, emptyCache, rejection, startServer } from "./loopback.ts";

/** A server whose every answer comes a byte at a time, and never ends. */
async function drippingServer(): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    const drip = setInterval(() => response.write(" "), 10);
    response.on("close", () => clearInterval(drip));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it("a byte now and then: too little in three times the patience is a stall, and named", async () => {
  const options = { stallTimeoutMs: 200, retry: { retries: 1, baseMs: 1, maxMs: 4 } };
  const hub = client(await drippingServer(), await emptyCache(), options);
  expect(await rejection(hub.plan("org/tiny"))).toMatchObject({
    code: "hub-stalled",
    message: expect.stringMatching(/sent only \d+ bytes in 0\.6 s/) as string,
  });
});

it("a file that drips is given up as well", async () => {
  const server = await startServer();
  const dripping = await drippingServer();
  server.fault({ part: "storage" }, (answer) => ({ ...answer, status: 302, headers: { location: dripping } }));
  const options = { stallTimeoutMs: 200, retry: { retries: 1, baseMs: 1, maxMs: 4 } };
  const hub = client(server.endpoint, await emptyCache(), options);
  expect(await rejection(hub.file("org/tiny", "onnx/model.onnx"))).toMatchObject({ code: "hub-stalled" });
});

it("an answer has a time for all its pages, and for all its bytes", async () => {
  const drip = client(await drippingServer(), await emptyCache(), { answerTimeoutMs: 100 });
  const late = { code: "hub-timeout", message: expect.stringContaining("did not end within 0.1 s") as string };
  expect(await rejection(drip.plan("org/tiny"))).toMatchObject(late);

  let pages = 0;
  const endless = client("http://127.0.0.1:1", await emptyCache(), {
    answerTimeoutMs: 100,
    fetch: async (url, { signal }) => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      signal.throwIfAborted();
      if (!url.includes("/tree/")) return new Response(JSON.stringify({ sha: "a".repeat(40) }));
      const link = `<http://127.0.0.1:1/api/models/org/tiny/tree/x?cursor=${++pages}>; rel="next"`;
      return new Response("[]", { headers: { link } });
    },
  });
  expect(await rejection(endless.plan("org/tiny"))).toMatchObject(late);
  expect(pages).toBeGreaterThan(0);
});

it("a cache folder that vanishes during a download is named", async () => {
  const server = await startServer();
  const folder = join(await emptyCache(), "cache");
  const hub = client(server.endpoint, folder);
  let removed: Promise<void> | undefined;
  server.fault({ part: "storage" }, (answer) => {
    removed ??= rm(folder, { recursive: true, force: true });
    return answer;
  });
  const error = await rejection(hub.file("org/tiny", "onnx/model.onnx"));
  await removed;
  expect(error).toMatchObject({
    code: "hub-storage",
    message: expect.stringMatching(/cache.* vanished while it was written \(ENOENT\)/) as string,
  });
});

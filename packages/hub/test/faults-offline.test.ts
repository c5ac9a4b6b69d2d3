import { rm, symlink } from "node:fs/promises";
import { join } from "node:path";

import { faults } from "hub-server";
import { describe, expect, it } from "vitest";

import { HubNameError, HubOfflineError } from "../src/index.ts";
import { client, emptyCache, holdsWeights, recorder, rejection, startServer } from "./loopback.ts";

const large = "onnx/model.onnx";

describe("fault 94: offline", () => {
  it("with a cache: no request, the same files", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const online = await client(server.endpoint, folder).snapshot("org/tiny");
    const requests = server.requests.length;
    const environment = { HF_HOME: folder, HF_HUB_OFFLINE: "1" };
    const hub = client(server.endpoint, folder, { environment });
    expect(await hub.snapshot("org/tiny")).toEqual(online);
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
    expect(await holdsWeights(await hub.file("org/tiny", large, { revision: online.commit }))).toBe(true);
    expect(await hub.plan("org/tiny")).toMatchObject({ missingBytes: 0, totalBytes: 500_033 });
    expect(server.requests).toHaveLength(requests);
  });

  it("without: an error that names what is missing", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder, { offline: true });
    for (const attempt of [
      () => hub.snapshot("org/tiny"),
      () => hub.file("org/tiny", large),
      () => hub.plan("org/tiny"),
      () => hub.file("org/tiny", large, { revision: "0".repeat(40) }),
    ]) {
      const error = await rejection(attempt());
      expect(error).toBeInstanceOf(HubOfflineError);
      expect(error.message).toContain("HF_HUB_OFFLINE");
    }
    expect(server.requests).toEqual([]);
  });

  it("with a part of it: an error for the rest", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).snapshot("org/tiny", { allow: "*.json" });
    const hub = client(server.endpoint, folder, { offline: true });
    expect((await hub.snapshot("org/tiny", { allow: "*.json" })).files.size).toBe(1);
    const error = await rejection(hub.snapshot("org/tiny"));
    expect(error.details!["missing"]).toEqual(
      ["empty.txt", "onnx/model.onnx", "model.safetensors", "tokenizer/vocab.txt"].toSorted(),
    );
    await rm(join(folder, "models--org--tiny/trees"), { recursive: true });
    // Without the list nothing is known to be missing: what is there is the answer, as in huggingface_hub.
    expect((await hub.snapshot("org/tiny")).files.size).toBe(1);
  });

  it("by accident: the cached commit is used with a warning, and only when it holds what is wanted", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).file("org/tiny", large);
    const { endpoint } = server;
    await server.close();
    const hub = client(endpoint, folder);
    const { events, onEvent } = recorder();
    expect(await holdsWeights(await hub.file("org/tiny", large, { onEvent }))).toBe(true);
    expect(events).toContainEqual({ type: "warning", message: expect.stringContaining("is used") as string });
    expect((await hub.snapshot("org/tiny")).files.size).toBe(1);
    expect(await rejection(hub.file("org/tiny", "config.json"))).toMatchObject({ code: "hub-unreachable" });
  });

  it("a plan of a cache without a file list: what is there", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const { commit } = await client(server.endpoint, folder).snapshot("org/tiny", { allow: ["*.json", "onnx/*"] });
    await rm(join(folder, "models--org--tiny/trees"), { recursive: true });
    const held = [
      { path: "config.json", size: 21, cached: true },
      { path: large, size: 400_000, cached: true },
    ];
    const { endpoint } = server;
    const offline = client(endpoint, folder, { offline: true });
    const requests = server.requests.length;
    for (const revision of ["main", commit, commit.slice(0, 7)]) {
      const plan = await offline.plan("org/tiny", { revision });
      expect(plan).toMatchObject({ commit, files: held, missingBytes: 0, isLocal: true, isComplete: false });
    }
    expect(server.requests).toHaveLength(requests);
    // A broken link is no file.
    await rm(join(folder, "models--org--tiny/snapshots", commit, large));
    await symlink("../../../blobs/gone", join(folder, "models--org--tiny/snapshots", commit, large));
    expect((await offline.plan("org/tiny")).files).toEqual(held.slice(0, 1));
    await server.close();
    const { events, onEvent } = recorder();
    for (const revision of ["main", commit]) {
      const plan = await client(endpoint, folder).plan("org/tiny", { revision, onEvent });
      expect(plan).toMatchObject({ isLocal: true, isComplete: false });
    }
    expect(events.filter(({ type }) => type === "warning")).toHaveLength(2);
  });

  it("another revision than the cached one: an error that names the cached commit", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const { commit } = await client(server.endpoint, folder).snapshot("org/tiny");
    const hub = client(server.endpoint, folder, { offline: true });
    for (const revision of ["v1.0", "0".repeat(40)]) {
      const error = await rejection(hub.plan("org/tiny", { revision }));
      expect(error.message).toContain(`The cache does hold ${commit}`);
    }
  });

  it.each([401, 403, 404, 429, 500, 503])("status %d: the cached commit is used with a warning", async (status) => {
    const server = await startServer();
    const folder = await emptyCache();
    const whole = await client(server.endpoint, folder).snapshot("org/tiny");
    server.fault({ path: /./ }, (answer) => ({ ...answer, status }));
    const { events, onEvent } = recorder();
    const hub = client(server.endpoint, folder, { retry: { retries: 0, baseMs: 1, maxMs: 1 } });
    expect(await hub.snapshot("org/tiny", { onEvent })).toEqual(whole);
    expect(events).toContainEqual({ type: "warning", message: expect.stringContaining("is used") as string });
  });

  it("a file that the Hub does not have is remembered as missing", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    await rejection(hub.file("org/tiny", "nothing.txt"));
    const asked = (): number => server.requests.filter(({ path }) => path.includes("paths-info")).length;
    expect(asked()).toBe(1);
    expect(await rejection(hub.file("org/tiny", "nothing.txt"))).toMatchObject({ code: "hub-file-not-found" });
    expect(asked()).toBe(1);
  });
});

describe("what a server may list", () => {
  it.each(["../../x", "..", "/etc/passwd", "a\u0000b", "C:\\x"])(
    "fault 95: revision %j reaches neither disk nor network",
    async (revision) => {
      const server = await startServer();
      const folder = await emptyCache();
      const hub = client(server.endpoint, folder);
      for (const attempt of [
        () => hub.file("org/tiny", large, { revision }),
        () => hub.snapshot("org/tiny", { revision }),
        () => hub.plan("org/tiny", { revision }),
      ]) {
        expect(await rejection(attempt())).toBeInstanceOf(HubNameError);
      }
      expect(server.requests).toEqual([]);
    },
  );

  it("fault 95: a commit from the server that is none", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    for (const sha of ["../../x", "", 5, null, "ABCDEF".repeat(8).slice(0, 40)]) {
      server.clearFaults();
      server.fault({ path: /revision/ }, faults.body(JSON.stringify({ sha })));
      expect(await rejection(client(server.endpoint, folder).snapshot("org/tiny"))).toMatchObject({
        code: "hub-response",
      });
    }
  });

  it.each([
    ["a hash that is a path", { oid: "../../../x" }],
    ["no hash", { oid: undefined }],
    ["a negative size", { size: -1 }],
    ["a size that is no number", { size: "10" }],
    ["a size beyond 2^53", { size: 2 ** 60 }],
    ["a path that is no text", { path: ["x"] }],
    ["an LFS hash that is a path", { lfs: { oid: "../../../x", size: 1 } }],
    ["an LFS hash of the wrong kind", { lfs: { oid: "a".repeat(40), size: 1 } }],
  ])("fault 95: a tree with %s", async (_, change) => {
    const server = await startServer();
    const entry = { type: "file", path: "x", size: 1, oid: "a".repeat(40), ...change };
    server.fault({ path: /\/tree\// }, faults.body(JSON.stringify([entry])));
    expect(await rejection(client(server.endpoint, await emptyCache()).snapshot("org/tiny"))).toMatchObject({
      code: "hub-response",
    });
  });

  it("fault 96: 100 000 files", async () => {
    const files = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`shard-${index}.txt`, "same"]));
    const server = await startServer({ repositories: [{ id: "org/tiny", files }], pageSize: 5000 });
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    const plan = await hub.plan("org/tiny", { allow: "shard-99*" });
    expect(plan.files).toHaveLength(1111);
    expect((await hub.snapshot("org/tiny", { allow: "shard-99999.txt" })).files.size).toBe(1);
    expect(server.requests.filter(({ path }) => path.includes("/tree/"))).toHaveLength(40);
  });

  it("fault 96: pages that go in a circle, or on for ever", async () => {
    const server = await startServer({ pageSize: 2 });
    const folder = await emptyCache();
    server.fault({ path: /cursor=2/ }, (answer) => ({
      ...answer,
      headers: { ...answer.headers, link: (answer.headers["link"] ?? "").replace("cursor=4", "cursor=2") },
    }));
    expect(await rejection(client(server.endpoint, folder).snapshot("org/tiny"))).toMatchObject({
      code: "hub-response",
      message: expect.stringContaining("circle") as string,
    });

    let cursor = 0;
    const endless = client(server.endpoint, folder, {
      fetch: async (url) => {
        const page = url.includes("/tree/") ? "[]" : JSON.stringify({ sha: "a".repeat(40) });
        const link = `<${server.endpoint}/api/models/org/tiny/tree/x?cursor=${++cursor}>; rel="next"`;
        return new Response(page, { headers: url.includes("/tree/") ? { link } : {} });
      },
    });
    expect(await rejection(endless.snapshot("org/tiny"))).toMatchObject({
      code: "hub-response",
      message: expect.stringContaining("20000 pages") as string,
    });
  });
});

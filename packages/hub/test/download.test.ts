import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import {
  client,
  emptyCache,
  holdsWeights,
  model,
  noise,
  recorder,
  rejection,
  startServer,
  watchedFetch,
} from "./loopback.ts";

describe("the cache of huggingface_hub", () => {
  it("holds blobs, references, relative links, the file list and the tag", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const snapshot = await client(server.endpoint, folder).snapshot("org/tiny");
    const commit = server.commit("org/tiny");
    const repository = join(folder, "models--org--tiny");
    expect(snapshot).toMatchObject({ commit, folder: join(repository, "snapshots", commit) });
    expect([...snapshot.files.keys()]).toEqual(Object.keys(model.files));
    expect(await readFile(join(repository, "refs/main"), "utf8")).toBe(commit);
    const link = await readlink(join(snapshot.folder, "onnx/model.onnx"));
    expect(link).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    expect(await readlink(join(snapshot.folder, "config.json"))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/);
    expect(await holdsWeights(snapshot.files.get("onnx/model.onnx")!)).toBe(true);
    expect((await readdir(join(repository, "blobs"))).filter((name) => !/^[0-9a-f]+$/.test(name))).toEqual([]);
    expect(await readFile(join(folder, "CACHEDIR.TAG"), "utf8")).toMatch(
      /^Signature: 8a477f597d28d172789f06886806bc55\n/,
    );
    const tree = JSON.parse(await readFile(join(repository, "trees", `${commit}.json`), "utf8")) as {
      format_version: number;
      files: Record<string, Record<string, unknown>>;
    };
    expect(tree.format_version).toBe(1);
    expect(tree.files["onnx/model.onnx"]).toMatchObject({ size: 400_000, lfs_size: 400_000 });
    expect((await stat(join(folder, ".locks/models--org--tiny"))).isDirectory()).toBe(true);
    expect(await readdir(join(folder, ".locks/models--org--tiny"))).toEqual([]);
  });

  it("is asked before the Hub: nothing is downloaded twice, a commit's file costs no request at all", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    const path = await hub.file("org/tiny", "onnx/model.onnx");
    const downloads = (): number => server.requests.filter(({ part }) => part === "storage").length;
    expect(downloads()).toBe(1);
    expect(await hub.file("org/tiny", "model.onnx", { subfolder: "onnx" })).toBe(path);
    expect(downloads()).toBe(1);
    const before = server.requests.length;
    expect(await hub.file("org/tiny", "onnx/model.onnx", { revision: server.commit("org/tiny") })).toBe(path);
    expect(server.requests).toHaveLength(before);
    await hub.file("org/tiny", "onnx/model.onnx", { force: true });
    expect(downloads()).toBe(2);
  });

  it("shares blobs between revisions and names datasets and spaces apart", async () => {
    const shared = "the same in both";
    const server = await startServer({
      repositories: [
        {
          id: "org/tiny",
          files: { a: shared, b: "old" },
          branches: { "refs/pr/1": { a: shared, b: "new" }, v1: { a: shared } },
        },
        { id: "org/data", type: "dataset", files: { "train.csv": "1,2" } },
        { id: "org/demo", type: "space", files: { "app.py": "pass" } },
      ],
    });
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    await hub.snapshot("org/tiny");
    await hub.snapshot("org/tiny", { revision: "refs/pr/1" });
    expect(await readdir(join(folder, "models--org--tiny/blobs"))).toHaveLength(3);
    expect(await readFile(join(folder, "models--org--tiny/refs/refs/pr/1"), "utf8")).toBe(
      server.commit("org/tiny", "refs/pr/1"),
    );
    expect(server.requests.filter(({ path }) => path.includes("/resolve/"))).toHaveLength(3);
    expect(await readFile(await hub.file("datasets/org/data", "train.csv"), "utf8")).toBe("1,2");
    expect(await readFile(await hub.file({ type: "space", id: "org/demo" }, "app.py"), "utf8")).toBe("pass");
    expect((await readdir(folder)).filter((name) => name.includes("--"))).toEqual([
      "datasets--org--data",
      "models--org--tiny",
      "spaces--org--demo",
    ]);
  });

  it("chooses by patterns and subfolder, and says what it would do without doing it", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    const plan = await hub.plan("org/tiny", { allow: ["*.json", "onnx/"], ignore: "*vocab*" });
    expect(plan.files.map(({ path, size, cached }) => ({ path, size, cached }))).toEqual([
      { path: "config.json", size: 21, cached: false },
      { path: "onnx/model.onnx", size: 400_000, cached: false },
    ]);
    expect(plan).toMatchObject({ totalBytes: 400_021, missingBytes: 400_021 });
    expect(await readdir(folder)).toEqual([]);

    const { files } = await hub.snapshot("org/tiny", { subfolder: "tokenizer/", allow: "vocab*" });
    expect([...files.keys()]).toEqual(["tokenizer/vocab.txt"]);
    await hub.file("org/tiny", "config.json");
    expect(await hub.plan("org/tiny", { allow: "*.json" })).toMatchObject({ totalBytes: 21, missingBytes: 0 });
    const { events, onEvent } = recorder();
    expect((await hub.snapshot("org/tiny", { allow: "*.gguf", onEvent })).files.size).toBe(0);
    expect(events).toContainEqual({ type: "warning", message: expect.stringContaining("No file") as string });
  });

  it("tells bytes, speed and remaining time", async () => {
    const server = await startServer();
    const { events, onEvent } = recorder();
    await client(server.endpoint, await emptyCache()).snapshot("org/tiny", { onEvent });
    const progress = events.filter((event) => event.type === "progress");
    const last = progress.at(-1)!;
    expect(last.bytes).toBe(last.totalBytes);
    expect(last.totalBytes).toBe(500_033);
    expect(last.bytesPerSecond).toBeGreaterThan(0);
    expect(last.secondsLeft).toBe(0);
    expect(progress.every(({ fileBytes, fileSize }) => fileBytes <= fileSize)).toBe(true);
    expect(events.filter((event) => event.type === "file")).toHaveLength(5);
  });

  it("brings large files by parallel ranges, hashed in order", async () => {
    const server = await startServer();
    const hub = client(server.endpoint, await emptyCache(), { parallelBytes: 1, pieceBytes: 30_000, connections: 4 });
    const path = await hub.file("org/tiny", "onnx/model.onnx");
    expect(await holdsWeights(path)).toBe(true);
    const ranges = server.requests.filter(({ part }) => part === "storage").map(({ headers }) => headers["range"]);
    expect(ranges).toHaveLength(14);
    expect(new Set(ranges)).toHaveLength(14);
    // The redirect is followed by the first requests only; afterwards the storage is asked directly.
    expect(server.requests.filter(({ path: url }) => url.includes("/resolve/")).length).toBeLessThanOrEqual(4);
  });

  it("stops when it is told to, and leaves what a later call continues", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage", times: 1 }, (answer) => ({ ...answer, stallAfter: 150_000 }));
    const controller = new AbortController();
    // When all that comes has been taken.
    const fetch = watchedFetch(/\/lfs\//, (bytes) => bytes === 150_000 && setImmediate(() => controller.abort()));
    const hub = client(server.endpoint, folder, { fetch });
    const stopped = rejection(hub.file("org/tiny", "onnx/model.onnx", { signal: controller.signal }));
    expect((await stopped).name).toBe("AbortError");
    const blobs = await readdir(join(folder, "models--org--tiny/blobs"));
    expect(blobs.toSorted()).toEqual([
      expect.stringMatching(/\.incomplete$/),
      expect.stringMatching(/\.incomplete\.json$/),
    ]);
    await hub.file("org/tiny", "onnx/model.onnx");
    expect(server.requests.filter(({ part }) => part === "storage").at(-1)!.headers["range"]).toBe(
      "bytes=150000-399999",
    );
    expect(await readdir(join(folder, "models--org--tiny/blobs"))).toHaveLength(1);
  });

  it("writes one file for many", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`d/${index}.bin`, noise(100, index + 1)]),
    );
    const server = await startServer({ repositories: [{ id: "org/many", files }], pageSize: 7 });
    const { files: found } = await client(server.endpoint, await emptyCache()).snapshot("org/many", { concurrency: 8 });
    expect(found.size).toBe(60);
    expect(new Uint8Array(await readFile(found.get("d/41.bin")!))).toEqual(noise(100, 42));
  });
});

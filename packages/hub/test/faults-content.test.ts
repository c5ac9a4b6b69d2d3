import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { faults, memoryContent } from "hub-server";
import { describe, expect, it } from "vitest";

import { HubIntegrityError, HubResponseError } from "../src/index.ts";
import { abandon } from "./abandoned.ts";
import {
  client,
  emptyCache,
  holdsWeights,
  noise,
  recorder,
  rejection,
  startServer,
  watchedFetch,
  weights,
} from "./loopback.ts";

const large = "onnx/model.onnx";

/** What a failed download may leave in the cache: no blob, no partial file, no snapshot, no reference. */
async function leftovers(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name)
    .filter((name) => name !== "CACHEDIR.TAG" && !/^[0-9a-f]{40}\.json$/.test(name));
}

describe("wrong content", () => {
  it.each([
    ["fault 72: sha256 mismatch of an LFS file", large],
    ["fault 72: sha256 mismatch of a Xet file", "model.safetensors"],
    ["fault 73: git-sha1 mismatch of a file in Git", "tokenizer/vocab.txt"],
  ])("%s is deleted, asked for once more, and an error", async (_, path) => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ path: /\/resolve\/|\/lfs\// }, (answer) =>
      answer.status === 302 ? answer : faults.corrupt(answer),
    );
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", path));
    expect(error).toBeInstanceOf(HubIntegrityError);
    expect(error).toMatchObject({ code: "hub-hash-mismatch", details: { path } });
    expect(await leftovers(folder)).toEqual([]);
    expect(server.requests.filter(({ path: url }) => url.includes("/resolve/"))).toHaveLength(2);
  });

  it("fault 72: a mismatch that does not come back is repaired", async () => {
    const server = await startServer();
    const { events, onEvent } = recorder();
    server.fault({ part: "storage", times: 1 }, faults.corrupt);
    const path = await client(server.endpoint, await emptyCache()).file("org/tiny", large, { onEvent });
    expect(await holdsWeights(path)).toBe(true);
    expect(events).toContainEqual({ type: "warning", message: expect.stringContaining("deleted") as string });
  });

  it("fault 72: one wrong part among parallel ranges is found and repaired", async () => {
    const server = await startServer();
    server.fault({ part: "storage", times: 1, after: 3 }, faults.corrupt);
    const hub = client(server.endpoint, await emptyCache(), { parallelBytes: 1, pieceBytes: 50_000 });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });

  it("fault 74: ETag changed between two parts", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage", times: 1 }, faults.cut(100_000));
    server.fault({ part: "storage", after: 1 }, faults.headers({ etag: '"another"' }));
    server.fault({ part: "storage", after: 1 }, faults.corrupt);
    const { events, onEvent } = recorder();
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", large, { onEvent }));
    expect(events).toContainEqual({ type: "warning", message: expect.stringContaining("changed") as string });
    expect(error).toMatchObject({ code: "hub-hash-mismatch" });
    expect(await leftovers(folder)).toEqual([]);
  });

  it("fault 74: the Hub names other content than its own tree", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ path: /resolve/ }, faults.headers({ "x-linked-etag": `"${"a".repeat(64)}"` }));
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", large));
    expect(error).toMatchObject({ code: "hub-content-changed" });
    expect(server.requests.some(({ part }) => part === "storage")).toBe(true);
    expect(await leftovers(folder)).toEqual([]);
  });

  it("fault 75: 200 to a request for a range starts again at 0", async () => {
    const server = await startServer();
    server.fault({ part: "storage", times: 1 }, faults.cut(100_000));
    server.fault({ part: "storage" }, faults.ignoreRange);
    const path = await client(server.endpoint, await emptyCache()).file("org/tiny", large);
    expect(await holdsWeights(path)).toBe(true);
    const ranges = server.requests.filter(({ part }) => part === "storage").map(({ headers }) => headers["range"]);
    expect(ranges).toEqual([undefined, "bytes=100000-399999", undefined]);
  });

  it("fault 75: the same among parallel ranges", async () => {
    const server = await startServer();
    server.fault({ part: "storage" }, faults.ignoreRange);
    const hub = client(server.endpoint, await emptyCache(), { parallelBytes: 1, pieceBytes: 50_000 });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });

  it.each(["bytes 0-299999/400000", "bytes 100000-399999/400001", "bytes 100001-399999/400000", "nonsense"])(
    "fault 76: 206 with Content-Range %s is not believed",
    async (range) => {
      const server = await startServer();
      server.fault({ part: "storage", times: 1 }, faults.cut(100_000));
      server.fault({ part: "storage" }, (answer) =>
        answer.status === 206 ? faults.headers({ "content-range": range })(answer) : answer,
      );
      const path = await client(server.endpoint, await emptyCache()).file("org/tiny", large);
      expect(await holdsWeights(path)).toBe(true);
      expect(server.requests.at(-1)!.headers["range"]).toBeUndefined();
    },
  );

  it("fault 76: a server that sends 206 to everything is an error", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage" }, (answer) => ({
      ...answer,
      status: 206,
      headers: { "content-range": "bytes 5-9/10" },
    }));
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", large));
    expect(error).toBeInstanceOf(HubResponseError);
    expect(await leftovers(folder)).toEqual([]);
  });

  it("fault 77: 416, because the server's file is shorter, starts afresh, then is an error", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage", times: 1 }, faults.cut(100_000));
    server.fault({ part: "storage", after: 1 }, faults.status(416, { "content-range": "bytes */100" }));
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", large));
    expect(error).toMatchObject({ code: "hub-content-changed" });
    expect(await leftovers(folder)).toEqual([]);
  });

  it("fault 77: a complete or overlong partial file is never asked to continue", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    await hub.file("org/tiny", large);
    const blobs = join(folder, "models--org--tiny/blobs");
    const [etag] = await readdir(blobs);
    // All bytes there, killed before the rename: nothing is downloaded.
    await abandon(blobs, etag!, weights);
    const storage = (): number => server.requests.filter(({ part }) => part === "storage").length;
    const before = storage();
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
    expect(storage()).toBe(before);
    // More bytes than the file has: not ours, deleted.
    await abandon(blobs, etag!, noise(400_001));
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
    expect(server.requests.at(-1)!.headers["range"]).toBeUndefined();
    expect(await readdir(blobs)).toEqual([etag]);
  });

  it("fault 81: gzip without Content-Length is unpacked and checked", async () => {
    const text = "a line that compresses well\n".repeat(10_000);
    const server = await startServer({ repositories: [{ id: "org/text", files: { "vocab.txt": text } }] });
    server.fault({ path: /resolve/ }, faults.gzip);
    const path = await client(server.endpoint, await emptyCache()).file("org/text", "vocab.txt");
    expect(await readFile(path, "utf8")).toBe(text);
  });

  it("fault 81: a compressed bomb is stopped at the size that the tree lists", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage" }, faults.bomb(64 * 2 ** 20));
    let read = 0;
    const fetch = watchedFetch(/\/lfs\//, (bytes) => (read = bytes));
    const error = await rejection(client(server.endpoint, folder, { fetch }).file("org/tiny", large));
    expect(error).toMatchObject({
      code: "hub-content-changed",
      message: expect.stringContaining("more than") as string,
    });
    // Up to the piece that was too much, of the 64 MB; it is tried twice.
    expect(read).toBeGreaterThan(400_000);
    expect(read).toBeLessThan(2 * (400_000 + 2 ** 17));
    expect(await leftovers(folder)).toEqual([]);
  });

  it("fault 81: a compressed bomb in place of the file list is stopped too", async () => {
    const server = await startServer();
    server.fault({ path: /\/tree\// }, faults.bomb(80 * 2 ** 20));
    const error = await rejection(client(server.endpoint, await emptyCache()).snapshot("org/tiny"));
    expect(error).toMatchObject({ code: "hub-response", message: expect.stringContaining("longer than") as string });
  });

  it("fault 81: a missing Content-Length is no fault, a wrong one is", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ path: /resolve|lfs/, times: 2 }, faults.noLength);
    expect(await holdsWeights(await client(server.endpoint, folder).file("org/tiny", large))).toBe(true);
    server.clearFaults();
    server.fault({ path: /resolve/ }, faults.body("too short"));
    const error = await rejection(client(server.endpoint, folder).file("org/tiny", "config.json"));
    expect(error).toMatchObject({
      code: "hub-content-changed",
      message: expect.stringContaining("9 bytes instead of 21") as string,
    });
  });

  it("a page of HTML in place of the API is told as such", async () => {
    const server = await startServer();
    server.fault({ path: /^\/api/ }, faults.body("<html>Please log in to the hotel's network</html>"));
    const error = await rejection(client(server.endpoint, await emptyCache()).snapshot("org/tiny"));
    expect(error).toMatchObject({ code: "hub-response", message: expect.stringContaining("HF_ENDPOINT") as string });
  });

  it("an empty file needs no request, but its hash must be that of nothing", async () => {
    const server = await startServer({
      repositories: [{ id: "org/e", files: { none: "", lfs: memoryContent("", "lfs") } }],
    });
    const { files } = await client(server.endpoint, await emptyCache()).snapshot("org/e");
    expect(await readFile(files.get("none")!, "utf8")).toBe("");
    expect(await readFile(files.get("lfs")!, "utf8")).toBe("");
    server.fault(
      { path: /\/tree\// },
      faults.body(JSON.stringify([{ type: "file", path: "x", size: 0, oid: "b".repeat(40) }])),
    );
    const error = await rejection(client(server.endpoint, await emptyCache()).snapshot("org/e"));
    expect(error).toMatchObject({ code: "hub-hash-mismatch" });
  });
});

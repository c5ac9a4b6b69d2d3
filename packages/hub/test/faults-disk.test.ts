import { createHash } from "node:crypto";
import * as nodeFs from "node:fs/promises";
import { lstat, mkdir, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { faults } from "hub-server";
import { describe, expect, it, vi } from "vitest";

import { HubNameError, HubStorageError } from "../src/index.ts";
import { FileCache, type FileSystem } from "../src/node/index.ts";
import { abandon } from "./abandoned.ts";
import { client, emptyCache, holdsWeights, recorder, rejection, startServer, weights } from "./loopback.ts";

const large = "onnx/model.onnx";

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: as the system says it`), { code });
}

/** The real file system but for some functions. */
function brokenFs(changes: { readonly [name in keyof FileSystem]?: (...args: never[]) => unknown }): FileSystem {
  return Object.assign({ ...nodeFs }, changes) as FileSystem;
}

function refuseWith(code: string): () => Promise<never> {
  return () => Promise.reject(systemError(code));
}

/** A file system whose files take `bytes` and then fail. */
function fullDisk(code: string, bytes: number): FileSystem {
  let left = bytes;
  return brokenFs({
    open: async (...args: Parameters<FileSystem["open"]>) => {
      const handle = await nodeFs.open(...args);
      const write = handle.write.bind(handle);
      const limited = async (source: Uint8Array, from: number, length: number, position: number): Promise<unknown> => {
        left -= length;
        if (left < 0) throw systemError(code);
        return write(source, from, length, position);
      };
      Object.assign(handle, { write: limited });
      return handle;
    },
  });
}

/** Renames to such names are refused. */
function held(name: RegExp): FileSystem {
  return brokenFs({
    rename: async (from: string, to: string) => {
      if (name.test(to)) throw systemError("EPERM");
      return nodeFs.rename(from, to);
    },
  });
}

async function blobs(folder: string): Promise<string[]> {
  return readdir(join(folder, "models--org--tiny/blobs"));
}

describe("fault 85: what an interrupted process leaves", () => {
  it("is continued when its beginning still has the recorded hash", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).file("org/tiny", large);
    const [etag] = await blobs(folder);
    await abandon(join(folder, "models--org--tiny/blobs"), etag!, weights.subarray(0, 123_456));
    expect(await holdsWeights(await client(server.endpoint, folder).file("org/tiny", large))).toBe(true);
    expect(server.requests.at(-1)!.headers["range"]).toBe("bytes=123456-399999");
    expect(await blobs(folder)).toEqual([etag]);
  });

  it.each([
    ["a beginning that has changed", { prefixDigest: "0".repeat(64) }],
    ["another size", { size: 5 }],
    ["another file", { etag: "f".repeat(64) }],
    ["ranges past the end of the file", { done: [{ start: 0, end: 200_000 }] }],
    ["ranges that are none", { done: [{ start: -1, end: 5 }] }],
    ["a prefix longer than its ranges", { done: [], prefixBytes: 10 }],
    ["another version", { version: 2 }],
  ])("is downloaded anew with %s", async (_, changes) => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).file("org/tiny", large);
    const [etag] = await blobs(folder);
    await abandon(join(folder, "models--org--tiny/blobs"), etag!, weights.subarray(0, 100_000), changes);
    expect(await holdsWeights(await client(server.endpoint, folder).file("org/tiny", large))).toBe(true);
    expect(server.requests.at(-1)!.headers["range"]).toBeUndefined();
    expect(await blobs(folder)).toEqual([etag]);
  });

  it("is found out by the final hash when the damage is behind the beginning", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).file("org/tiny", large);
    const [etag] = await blobs(folder);
    const damaged = weights.slice(0, 300_000);
    damaged[250_000]! ^= 1;
    await abandon(join(folder, "models--org--tiny/blobs"), etag!, damaged, {
      prefixBytes: 100_000,
      prefixDigest: createHash("sha256").update(damaged.subarray(0, 100_000)).digest("hex"),
    });
    expect(await holdsWeights(await client(server.endpoint, folder).file("org/tiny", large))).toBe(true);
  });

  it("is left alone when it is huggingface_hub's, or of a process that may live", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).file("org/tiny", large);
    const [etag] = await blobs(folder);
    const place = join(folder, "models--org--tiny/blobs");
    await abandon(place, etag!, weights.subarray(0, 100_000), { owner: { host: "another machine", pid: 1 } });
    await writeFile(join(place, `${etag}.deadbeef.incomplete`), "Python's");
    await client(server.endpoint, folder).file("org/tiny", large);
    expect((await blobs(folder)).toSorted()).toEqual([
      etag,
      `${etag}.0123abcd.incomplete`,
      `${etag}.0123abcd.incomplete.json`,
      `${etag}.deadbeef.incomplete`,
    ]);
  });
});

describe("a cache that can only be read", () => {
  const readOnly = brokenFs({
    writeFile: refuseWith("EROFS"),
    mkdir: refuseWith("EROFS"),
    rename: refuseWith("EROFS"),
    symlink: refuseWith("EROFS"),
    open: refuseWith("EROFS"),
  });

  it.each([
    ["whole", []],
    ["without file lists", ["trees"]],
    ["without references", ["refs"]],
    ["without either, or notes of what is missing", ["trees", "refs", ".no_exist"]],
  ])("serves when it is full: %s", async (_, missing) => {
    const server = await startServer();
    const folder = await emptyCache();
    const whole = await client(server.endpoint, folder).snapshot("org/tiny");
    for (const name of missing)
      await nodeFs.rm(join(folder, "models--org--tiny", name), { recursive: true, force: true });
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs: readOnly }) });
    expect(await hub.snapshot("org/tiny")).toEqual(whole);
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
    expect(await hub.plan("org/tiny")).toMatchObject({ missingBytes: 0, isComplete: true, isLocal: false });
    expect(await rejection(hub.file("org/tiny", "nothing.txt"))).toMatchObject({ code: "hub-file-not-found" });
  });

  it("is refused by name when something must be downloaded", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).snapshot("org/tiny", { allow: "*.json" });
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs: readOnly }) });
    expect(await rejection(hub.snapshot("org/tiny"))).toMatchObject({ code: "hub-not-writable" });
  });

  it("serves when its optional files cannot be read", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const whole = await client(server.endpoint, folder).snapshot("org/tiny");
    const fs = brokenFs({
      readFile: async (...args: Parameters<FileSystem["readFile"]>) => {
        if (String(args[0]).includes("trees")) throw systemError("EACCES");
        return nodeFs.readFile(...args);
      },
    });
    const hub = client(server.endpoint, folder, { offline: true, cache: new FileCache(folder, { fs }) });
    expect((await hub.snapshot("org/tiny")).files).toEqual(whole.files);
  });
});

describe("fault 87: the disk", () => {
  it.each(["ENOSPC", "EDQUOT"])("%s while writing: an error, and the space is given back", async (code) => {
    const server = await startServer();
    const folder = await emptyCache();
    const cache = new FileCache(folder, { fs: fullDisk(code, 100_000) });
    const hub = client(server.endpoint, folder, { cache, parallelBytes: 1, pieceBytes: 50_000 });
    const error = await rejection(hub.file("org/tiny", large));
    expect(error).toBeInstanceOf(HubStorageError);
    expect(error).toMatchObject({ code: "hub-disk-full", message: expect.stringContaining("HF_HUB_CACHE") as string });
    expect(await blobs(folder)).toEqual([]);
  });

  it("too little space is told before the first byte, with what is needed", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const fs = brokenFs({
      statfs: async () => ({ ...(await nodeFs.statfs("/")), bavail: 1, bsize: 4096 }),
    });
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs }) });
    const error = await rejection(hub.snapshot("org/tiny"));
    expect(error).toMatchObject({ code: "hub-disk-full", details: { neededBytes: 500_033, freeBytes: 4096 } });
    expect(error.message).toContain("500.0 kB are needed and 4.1 kB are free");
    expect(server.requests.some(({ path }) => path.includes("/resolve/"))).toBe(false);
  });

  it.each(["EACCES", "EROFS", "EPERM"])("%s: an error that says what to set", async (code) => {
    const server = await startServer();
    const folder = await emptyCache();
    const deny = refuseWith(code);
    const cache = new FileCache(join(folder, "cache"), { fs: brokenFs({ mkdir: deny, writeFile: deny }) });
    const error = await rejection(client(server.endpoint, folder, { cache }).file("org/tiny", large));
    expect(error).toMatchObject({
      code: "hub-not-writable",
      message: expect.stringContaining("HF_HUB_CACHE") as string,
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it("a cache that is complete but read-only is used", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    await client(server.endpoint, folder).snapshot("org/tiny");
    const deny = refuseWith("EROFS");
    const fs = brokenFs({ mkdir: deny, writeFile: deny, rename: deny, symlink: deny, rm: deny });
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs }) });
    expect((await hub.snapshot("org/tiny")).files.size).toBe(5);
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });
});

describe("fault 88: no symbolic links", () => {
  it.each(["EPERM", "ENOTSUP", "UNKNOWN"])("%s: files lie in the snapshot itself", async (code) => {
    const server = await startServer({
      repositories: [
        { id: "org/tiny", files: { a: "same", b: "same" }, branches: { other: { a: "same", c: "different" } } },
      ],
    });
    const folder = await emptyCache();
    const fs = brokenFs({ symlink: () => Promise.reject(systemError(code)) });
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs }) });
    const { files } = await hub.snapshot("org/tiny", { concurrency: 1 });
    for (const path of files.values()) {
      expect((await lstat(path)).isFile()).toBe(true);
      expect(await readFile(path, "utf8")).toBe("same");
    }
    const requests = server.requests.length;
    await hub.snapshot("org/tiny");
    expect(server.requests.slice(requests).some(({ path }) => path.includes("/resolve/"))).toBe(false);
  });

  it("HF_HUB_DISABLE_SYMLINKS has the same effect", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const environment = { HF_HOME: folder, HF_HUB_DISABLE_SYMLINKS: "1" };
    const path = await client(server.endpoint, folder, { environment }).file("org/tiny", large);
    expect((await lstat(path)).isSymbolicLink()).toBe(false);
    expect(await holdsWeights(path)).toBe(true);
  });

  it("an error that is not about links is told", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const fs = brokenFs({ symlink: () => Promise.reject(systemError("EIO")) });
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs }) });
    expect(await rejection(hub.file("org/tiny", large))).toMatchObject({ code: "hub-storage" });
  });
});

describe("Windows replaces no file that another process has open", () => {
  it("a blob that another finished meanwhile is taken as it is", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const blob = createHash("sha256").update(weights).digest("hex");
    const other = client(server.endpoint, folder, {
      cache: new FileCache(folder, { fs: held(new RegExp(`${blob}$`)) }),
    });
    await client(server.endpoint, folder).file("org/tiny", large);
    expect(await holdsWeights(await other.file("org/tiny", large, { force: true }))).toBe(true);
    expect(await blobs(folder)).toEqual([blob]);
  });

  it("but where there is none, the error is told", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs: held(/blobs.[0-9a-f]{64}$/) }) });
    expect(await rejection(hub.file("org/tiny", large))).toMatchObject({ code: "hub-not-writable" });
  });

  it("a journal that is being read is left as it was", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    server.fault({ part: "storage", times: 1 }, faults.cut(200_000));
    const hub = client(server.endpoint, folder, { cache: new FileCache(folder, { fs: held(/incomplete\.json$/) }) });
    expect(await holdsWeights(await hub.file("org/tiny", large))).toBe(true);
  });
});

describe("names from a repository", () => {
  it("fault 89: names that collide are refused on a disk that ignores case, and only there", async () => {
    const server = await startServer({
      repositories: [{ id: "org/tiny", files: { "README.md": "a", "readme.md": "b" } }],
    });
    const folder = await emptyCache();
    expect((await client(server.endpoint, folder).snapshot("org/tiny")).files.size).toBe(2);

    const insensitive = await emptyCache();
    const fs = brokenFs({
      stat: (path: string) => nodeFs.stat(path.replace("cachedir.tag", "CACHEDIR.TAG")),
    });
    const hub = client(server.endpoint, insensitive, { cache: new FileCache(insensitive, { fs }) });
    const error = await rejection(hub.snapshot("org/tiny"));
    expect(error).toBeInstanceOf(HubNameError);
    expect(error.message).toContain("ignore pattern");
    expect((await hub.snapshot("org/tiny", { ignore: "readme.md" })).files.size).toBe(1);
  });

  it.each(["NUL", "../../evil", "a/..\\..\\evil", "C:\\evil", "trailing.", "x".repeat(300)])(
    "fault 90: %s in a tree is refused before anything is written, unless it is left out",
    async (name) => {
      const server = await startServer({ repositories: [{ id: "org/tiny", files: { good: "1", [name]: "evil" } }] });
      const folder = await emptyCache();
      const error = await rejection(client(server.endpoint, folder).snapshot("org/tiny"));
      expect(error).toBeInstanceOf(HubNameError);
      expect(server.requests.some(({ path }) => path.includes("/resolve/"))).toBe(false);
      expect([...(await client(server.endpoint, folder).snapshot("org/tiny", { allow: "good" })).files.keys()]).toEqual(
        ["good"],
      );
      await rejection(client(server.endpoint, folder).file("org/tiny", name));
      const written = (await readdir(folder, { recursive: true })).filter((path) => path.includes("evil"));
      expect(written).toEqual([]);
    },
  );

  it("fault 90: a path as long as may be", async () => {
    const name = `${"d".repeat(200)}/${"e".repeat(200)}/${"f".repeat(200)}`;
    const server = await startServer({ repositories: [{ id: "org/tiny", files: { [name]: "deep" } }] });
    expect(await readFile(await client(server.endpoint, await emptyCache()).file("org/tiny", name), "utf8")).toBe(
      "deep",
    );
  });
});

describe("a cache that is not in order", () => {
  it("fault 91: a reference to a missing snapshot, or to nothing, is no cache", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const refs = join(folder, "models--org--tiny/refs");
    await mkdir(refs, { recursive: true });
    for (const content of ["1".repeat(40), "", "not a commit", "../../../etc"]) {
      await writeFile(join(refs, "main"), content);
      const offline = client(server.endpoint, folder, { offline: true });
      expect(await rejection(offline.file("org/tiny", large))).toMatchObject({ code: "hub-offline" });
      expect(await rejection(offline.snapshot("org/tiny"))).toMatchObject({ code: "hub-offline" });
    }
    await client(server.endpoint, folder).file("org/tiny", large);
    expect(await readFile(join(refs, "main"), "utf8")).toBe(server.commit("org/tiny"));
  });

  it("fault 92: an empty or truncated blob is replaced", async () => {
    const server = await startServer();
    const folder = await emptyCache();
    const hub = client(server.endpoint, folder);
    const { files, commit } = await hub.snapshot("org/tiny");
    for (const size of [0, 1000]) {
      await truncate(files.get(large)!, size);
      expect(await rejection(client(server.endpoint, folder, { offline: true }).file("org/tiny", large))).toMatchObject(
        { code: "hub-offline" },
      );
      expect((await hub.plan("org/tiny")).missingBytes).toBe(400_000);
      expect(await holdsWeights(await hub.file("org/tiny", large, { revision: commit }))).toBe(true);
      await truncate(files.get(large)!, size);
      expect(await holdsWeights((await hub.snapshot("org/tiny")).files.get(large)!)).toBe(true);
    }
    expect((await stat(files.get("empty.txt")!)).size).toBe(0);
    const requests = server.requests.length;
    await hub.file("org/tiny", "empty.txt", { revision: commit });
    expect(server.requests).toHaveLength(requests);
  });

  it.each(["1990-01-01", "2090-01-01"])("fault 93: a clock that says %s changes nothing", async (date) => {
    vi.useFakeTimers({ toFake: ["Date"], now: new Date(date) });
    try {
      const server = await startServer();
      const folder = await emptyCache();
      server.fault(
        { path: /resolve/, times: 1 },
        faults.status(503, { date: "Wed, 01 Jul 2026 00:00:00 GMT", "retry-after": "Wed, 01 Jul 2026 00:00:01 GMT" }),
      );
      server.fault({ part: "storage", times: 1 }, faults.cut(100_000));
      const { events, onEvent } = recorder();
      expect(await holdsWeights(await client(server.endpoint, folder).file("org/tiny", large, { onEvent }))).toBe(true);
      const waits = events.filter((event) => event.type === "retry").map(({ waitMs }) => waitMs);
      expect(waits[0]).toBe(1000);
      expect(waits[1]).toBeLessThan(10);
    } finally {
      vi.useRealTimers();
    }
  });
});

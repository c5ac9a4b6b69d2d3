import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { HubServer, memoryContent } from "hub-server";
import { build } from "tsdown";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { emptyCache, noise, startServer } from "./loopback.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "node_modules/.favor-hub-test");
const repository = {
  id: "org/big",
  files: {
    "small.bin": memoryContent(noise(3_000_000, 5), "lfs"),
    "big.bin": memoryContent(noise(12_000_000, 6), "lfs"),
  },
};

// Node 20 runs no TypeScript: the program and our sources are bundled once.
beforeAll(async () => {
  await build({
    config: false,
    cwd: root,
    entry: { download: join(root, "test/processes/download.ts") },
    outDir: out,
    format: "esm",
    platform: "node",
    dts: false,
    logLevel: "silent",
    deps: { alwaysBundle: [/^@favor\//] },
    inputOptions: { resolve: { conditionNames: ["@favor/source", "node", "import", "default"] } },
    outExtensions: () => ({ js: ".js" }),
  });
});
afterAll(() => rm(out, { recursive: true, force: true }));

function download(server: HubServer, folder: string, file: string): ChildProcess & { output: Promise<string> } {
  const child = spawn(process.execPath, [join(out, "download.js"), server.endpoint, folder, "org/big", file], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on("data", () => undefined);
  const output = once(child, "close").then(([code]) => {
    if (code !== 0 && code !== null) throw new Error(`exit ${String(code)}`);
    return text.trim();
  });
  output.catch(() => undefined);
  return Object.assign(child, { output });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

async function names(folder: string): Promise<string[]> {
  return readdir(join(folder, "models--org--big/blobs")).catch(() => []);
}

describe("several processes", () => {
  it.each(["small.bin", "big.bin"])(
    "fault 85: killed with SIGKILL while it wrote %s; the next continues",
    async (file) => {
      const server = await startServer({ repositories: [repository] });
      const folder = await emptyCache();
      const { size, bytes } = server.repositories[0]!.commits.get(server.commit("org/big"))!.get(file)!;
      // The last bytes of an answer never come: the process waits for them until it is killed.
      const stalled = { small: { after: 0, stallAfter: size - 200_000 }, big: { after: 5, stallAfter: 1000 } };
      const { after, stallAfter } = file === "big.bin" ? stalled.big : stalled.small;
      server.fault({ part: "storage", after }, (answer) => ({ ...answer, stallAfter }));
      const killed = download(server, folder, file);
      await until(async () => {
        const journal = (await names(folder)).find((name) => name.endsWith(".incomplete.json"));
        const text = await readFile(join(folder, "models--org--big/blobs", journal ?? ""), "utf8").catch(() => "");
        return text.includes('"done":[{');
      });
      killed.kill("SIGKILL");
      await killed.output;
      expect((await names(folder)).some((name) => name.endsWith(".incomplete"))).toBe(true);
      expect(await readdir(join(folder, ".locks/models--org--big"))).toHaveLength(1);

      server.clearFaults();
      const before = server.requests.length;
      const path = await download(server, folder, file).output;
      expect(Buffer.compare(await readFile(path), bytes!)).toBe(0);
      expect(await names(folder)).toHaveLength(1);
      const asked = server.requests.slice(before).filter(({ part }) => part === "storage");
      const bytesAsked = asked.map(({ headers }) => {
        const [start, end] = /^bytes=(\d+)-(\d+)$/
          .exec(headers["range"] ?? "bytes=0-99999999")!
          .slice(1)
          .map(Number) as [number, number];
        return end - start + 1;
      });
      expect(bytesAsked.reduce((sum, length) => sum + length, 0)).toBeLessThanOrEqual(size - 1_000_000);
      expect(await readdir(join(folder, ".locks/models--org--big"))).toEqual([]);
    },
  );

  it("fault 86: four processes want the same file: one downloads it, all have it", async () => {
    const server = await startServer({ repositories: [repository] });
    const folder = await emptyCache();
    const { bytes } = server.repositories[0]!.commits.get(server.commit("org/big"))!.get("small.bin")!;
    const paths = await Promise.all([1, 2, 3, 4].map(() => download(server, folder, "small.bin").output));
    expect(new Set(paths).size).toBe(1);
    expect(Buffer.compare(await readFile(paths[0]!), bytes!)).toBe(0);
    expect(await names(folder)).toHaveLength(1);
    expect(server.requests.filter(({ part }) => part === "storage")).toHaveLength(1);
  });

  it("fault 86: and when the lock does not hold, each writes a file of its own", async () => {
    const server = await startServer({ repositories: [repository] });
    const folder = await emptyCache();
    const { bytes } = server.repositories[0]!.commits.get(server.commit("org/big"))!.get("big.bin")!;
    const removing = setInterval(
      () => void rm(join(folder, ".locks"), { recursive: true, force: true }).catch(() => undefined),
      5,
    );
    try {
      const paths = await Promise.all([1, 2, 3].map(() => download(server, folder, "big.bin").output));
      expect(Buffer.compare(await readFile(paths[0]!), bytes!)).toBe(0);
    } finally {
      clearInterval(removing);
    }
  });
});

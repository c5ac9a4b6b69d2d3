import * as fs from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, it } from "vitest";

import { withLockFile } from "../src/node/lock.ts";
import { thisOwner } from "../src/node/owner.ts";
import { emptyCache, rejection } from "./loopback.ts";

async function lockPath(): Promise<string> {
  return join(await emptyCache(), "locks/of/repository/etag.lock");
}

/** Writes a lock as another process does. */
async function lockedBy(path: string, owner: object | string): Promise<void> {
  await fs.mkdir(join(path, ".."), { recursive: true });
  await fs.writeFile(path, typeof owner === "string" ? owner : JSON.stringify(owner));
}

describe("the lock of a blob", () => {
  it("is held by one at a time, and removed even when the work fails", async () => {
    const path = await lockPath();
    let inside = 0;
    let most = 0;
    const work = async (): Promise<void> => {
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setTimeout(resolve, 20));
      inside--;
    };
    await Promise.all([1, 2, 3].map(() => withLockFile(fs, path, undefined, work)));
    expect(most).toBe(1);
    await rejection(withLockFile(fs, path, undefined, () => Promise.reject(new Error("failed"))));
    expect(await fs.readdir(join(path, ".."))).toEqual([]);
  });

  it("fault 85: of a process that is gone is taken at once", async () => {
    const path = await lockPath();
    // The largest process id of Linux and macOS is below this.
    await lockedBy(path, { ...thisOwner(), pid: 2 ** 22 + 1 });
    const started = performance.now();
    expect(await withLockFile(fs, path, undefined, async () => "done")).toBe("done");
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it.each([
    ["of another machine", { host: "elsewhere", pid: process.pid }],
    ["that its writer never filled", ""],
    ["that nobody understands", "12345"],
  ])("fault 93: %s is taken when it has not changed for a while, whatever its date", async (_, owner) => {
    const path = await lockPath();
    await lockedBy(path, owner);
    await fs.utimes(path, new Date("2090-01-01"), new Date("2090-01-01"));
    const started = performance.now();
    expect(await withLockFile(fs, path, undefined, async () => "done", 150)).toBe("done");
    expect(performance.now() - started).toBeGreaterThanOrEqual(150);
  });

  it("of another machine that shows life is waited for, until we are told to stop", async () => {
    const path = await lockPath();
    await lockedBy(path, { host: "elsewhere", pid: 1 });
    let beat = 0;
    const heart = setInterval(() => void fs.utimes(path, ++beat, beat).catch(() => undefined), 20);
    const waiting = withLockFile(fs, path, AbortSignal.timeout(600), async () => "never", 400);
    const error = await rejection(waiting);
    clearInterval(heart);
    expect(error.name).toBe("TimeoutError");
    expect(await fs.readFile(path, "utf8")).toContain("elsewhere");
  });

  it("is not removed by one whom it was taken from", async () => {
    const path = await lockPath();
    await withLockFile(fs, path, undefined, () => lockedBy(path, { host: "elsewhere", pid: 7 }));
    expect(await fs.readFile(path, "utf8")).toContain("elsewhere");
  });
});

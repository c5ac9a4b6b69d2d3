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
    // With more patience than the test has, only what is taken at once is taken.
    expect(await withLockFile(fs, path, undefined, async () => "done", Infinity)).toBe("done");
  });

  it.skipIf(process.platform !== "linux")(
    "fault 85: of a process whose number another one has now is taken at once",
    async () => {
      const path = await lockPath();
      await lockedBy(path, { ...thisOwner(), started: "an earlier boot/1" });
      expect(await withLockFile(fs, path, undefined, async () => "done", Infinity)).toBe("done");
    },
  );

  it.each([
    ["of another machine", { host: "elsewhere", pid: process.pid }],
    ["that its writer never filled", ""],
    ["that nobody understands", "12345"],
  ])("fault 93: %s is taken when it has not changed for a while, whatever its date", async (_, owner) => {
    const path = await lockPath();
    await lockedBy(path, owner);
    await fs.utimes(path, new Date("2090-01-01"), new Date("2090-01-01"));
    let looks = 0;
    const counting = { ...fs, stat: async (of: string) => (looks++, fs.stat(of)) } as typeof fs;
    expect(await withLockFile(counting, path, undefined, async () => "done", 150)).toBe("done");
    // Once is not enough to know how long it stays as it is.
    expect(looks).toBeGreaterThanOrEqual(2);
  });

  it("of another machine that shows life is waited for, until we are told to stop", async () => {
    const path = await lockPath();
    await lockedBy(path, { host: "elsewhere", pid: 1 });
    const controller = new AbortController();
    let looks = 0;
    // Its owner is heard of before each of our looks. Without patience, a lock is taken when two looks see the same.
    const beating = {
      ...fs,
      stat: async (of: string) => {
        await fs.utimes(path, ++looks, looks);
        if (looks === 6) controller.abort(new Error("told to stop"));
        return fs.stat(of);
      },
    } as typeof fs;
    const error = await rejection(withLockFile(beating, path, controller.signal, async () => "never", 0));
    expect(error.message).toBe("told to stop");
    expect(looks).toBe(6);
    expect(await fs.readFile(path, "utf8")).toContain("elsewhere");
  });

  it("is taken though somebody removes its folder while we make it", async () => {
    const path = await lockPath();
    let refusals = 3;
    const removing = {
      ...fs,
      mkdir: async (...args: Parameters<typeof fs.mkdir>) => {
        if (refusals-- > 0) throw Object.assign(new Error("ENOENT: no such file or directory"), { code: "ENOENT" });
        return fs.mkdir(...args);
      },
    } as typeof fs;
    expect(await withLockFile(removing, path, undefined, async () => "done")).toBe("done");
    refusals = Infinity;
    const error = await rejection(withLockFile(removing, path, undefined, async () => "never"));
    expect(error.code).toBe("ENOENT");
  });

  it("is not removed by one whom it was taken from", async () => {
    const path = await lockPath();
    await withLockFile(fs, path, undefined, () => lockedBy(path, { host: "elsewhere", pid: 7 }));
    expect(await fs.readFile(path, "utf8")).toContain("elsewhere");
  });
});

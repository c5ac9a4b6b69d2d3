import { copyFile, readFile, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { CheckpointStore } from "../../src/checkpoint/checkpoint-store.ts";
import type { Checkpoint } from "../../src/checkpoint/checkpoint-store.ts";
import { parseTensors } from "../../src/checkpoint/tensors-file.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

function checkpoint(step: number): Checkpoint {
  const state = {
    format: 3,
    fingerprint: { seed: "0" },
    phase: 0,
    step,
    position: { epoch: 0, pass: 0, record: 0, batch: step },
  } as const;
  const rest = {
    curve: [{ step: 0, value: 0.5 }],
    controlCurve: [],
    finished: [],
    seconds: 0.25,
    best: null,
    last: null,
    logLength: 7,
  };
  return {
    state: { ...state, ...rest },
    tensors: new Map([
      ["model/a", Float32Array.of(step, -0, Number.MIN_VALUE, 1e30)],
      ["stage/b", new Float32Array(1000).fill(step)],
      ["stage/empty", new Float32Array(0)],
    ]),
  };
}

const step = async (folder: string): Promise<number | undefined> =>
  (await new CheckpointStore(folder).read())?.state.step;

describe("checkpoints", () => {
  test("are read as they were written, to the bit", async () => {
    const folder = await temporaryFolder();
    const store = new CheckpointStore(folder);
    expect(await store.read()).toBeUndefined();
    await store.write(checkpoint(3));
    expect(await store.read()).toEqual(checkpoint(3));
    expect((await readdir(folder)).toSorted()).toEqual(["checkpoint.safetensors"]);
  });

  test("a process may die between any two operations of a write: the newest whole checkpoint is found", async () => {
    const folder = await temporaryFolder();
    const store = new CheckpointStore(folder);
    await store.write(checkpoint(1));
    await store.write(checkpoint(2));
    const path = (name: string): string => join(folder, name);
    await copyFile(path("checkpoint.safetensors"), path("whole"));
    const bytes = await readFile(path("whole"));
    // While the temporary file grows.
    for (const length of [0, 5, 100, bytes.length - 1]) {
      await writeFile(path("checkpoint.next.safetensors.tmp"), bytes.subarray(0, length));
      expect(await step(folder)).toBe(2);
    }
    // Written and renamed once; then the last became the previous one; then all is done.
    const next = await temporaryFolder();
    await new CheckpointStore(next).write(checkpoint(3));
    await copyFile(join(next, "checkpoint.safetensors"), path("checkpoint.next.safetensors"));
    expect(await step(folder)).toBe(3);
    await rename(path("checkpoint.safetensors"), path("checkpoint.previous.safetensors"));
    expect(await step(folder)).toBe(3);
    await rename(path("checkpoint.next.safetensors"), path("checkpoint.safetensors"));
    expect(await step(folder)).toBe(3);
  });

  test("a damaged one gives way to the one before; two damaged ones are an error", async () => {
    const folder = await temporaryFolder();
    const store = new CheckpointStore(folder);
    await store.write(checkpoint(1));
    await store.write(checkpoint(2));
    const current = join(folder, "checkpoint.safetensors");
    const bytes = await readFile(current);
    bytes[bytes.length - 3]! ^= 1;
    await writeFile(current, bytes);
    expect(await step(folder)).toBe(1);
    await truncate(join(folder, "checkpoint.previous.safetensors"), 40);
    await expect(store.read()).rejects.toMatchObject({ code: "checkpoint-malformed" });
    await rm(current);
    await rm(join(folder, "checkpoint.previous.safetensors"));
    expect(await store.read()).toBeUndefined();
  });

  test("a full disk is a typed error, and the checkpoint before stays", async () => {
    const folder = await temporaryFolder();
    await new CheckpointStore(folder).write(checkpoint(4));
    const full = new CheckpointStore(folder, {
      async write(path, pieces) {
        const [first] = pieces;
        await writeFile(path, first!.subarray(0, 10));
        throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      },
    });
    await expect(full.write(checkpoint(5))).rejects.toMatchObject({
      code: "checkpoint-unwritable",
      message: expect.stringMatching(/step 5.*no space left.*--resume/) as string,
    });
    expect(await step(folder)).toBe(4);
    expect(await readdir(folder)).toEqual(["checkpoint.safetensors"]);
  });

  test("the file is safetensors, and bytes that are none are no checkpoint", async () => {
    const folder = await temporaryFolder();
    await new CheckpointStore(folder).write(checkpoint(1));
    const bytes = await readFile(join(folder, "checkpoint.safetensors"));
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { shape: number[] }>;
    expect(header["model/a"]?.shape).toEqual([4]);
    expect(length % 8).toBe(0);
    for (const nonsense of [new Uint8Array(0), new Uint8Array(64), Buffer.from("<html></html>")]) {
      expect(parseTensors(nonsense)).toBeUndefined();
    }
  });
});

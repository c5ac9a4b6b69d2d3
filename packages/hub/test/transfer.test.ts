import { readdir } from "node:fs/promises";
import { join } from "node:path";

import { array, assert, asyncProperty, boolean, constantFrom, integer, property, tuple } from "fast-check";
import { faults, type Fault } from "hub-server";
import { describe, expect, it } from "vitest";

import { FavorError } from "@favor/core";

import { RangeSet } from "../src/transfer/ranges.ts";
import { client, emptyCache, holdsWeights, startServer } from "./loopback.ts";

describe("a set of ranges", () => {
  it("is the set of its positions", () => {
    const position = integer({ min: 0, max: 30 });
    assert(
      property(array(tuple(position, position), { maxLength: 8 }), tuple(position, position), (added, [start, end]) => {
        const set = new RangeSet();
        const positions = new Set<number>();
        for (const [from, to] of added) {
          set.add(from, to);
          for (let at = from; at < to; at++) positions.add(at);
        }
        expect(set.bytes).toBe(positions.size);
        const missing = set
          .missing(start, end)
          .flatMap((gap) => Array.from({ length: gap.end - gap.start }, (_, n) => gap.start + n));
        expect(missing).toEqual(
          Array.from({ length: Math.max(0, end - start) }, (_, n) => start + n).filter((at) => !positions.has(at)),
        );
        let run = start;
        while (positions.has(run)) run++;
        expect(set.endOfRun(start)).toBe(run);
        expect(
          set.ranges.every(
            (range, index) => range.start < range.end && range.end < (set.ranges[index + 1]?.start ?? Infinity),
          ),
        ).toBe(true);
      }),
      { seed: 1 },
    );
  });
});

describe("any sequence of faults", () => {
  const fault = constantFrom<[string, Fault]>(
    ["cut at 0", faults.cut(0)],
    ["cut at 30 000", faults.cut(30_000)],
    ["cut at 90 001", faults.cut(90_001)],
    ["503", faults.status(503)],
    ["416", faults.status(416)],
    ["403", faults.status(403)],
    ["corrupt", faults.corrupt],
    ["ignored range", faults.ignoreRange],
    ["gzip", faults.gzip],
    ["another ETag", faults.headers({ etag: '"x"' })],
    ["wrong Content-Range", faults.headers({ "content-range": "bytes 0-1/2" })],
    ["no length", faults.noLength],
    ["nothing", (answer) => answer],
  );

  it("ends in the right bytes or in a typed error, and in the right bytes once it is over", async () => {
    const server = await startServer();
    await assert(
      asyncProperty(array(fault, { minLength: 1, maxLength: 8 }), boolean(), async (sequence, parallel) => {
        const folder = await emptyCache();
        const ways = parallel ? { parallelBytes: 1, pieceBytes: 70_000, connections: 3 } : {};
        const hub = client(server.endpoint, folder, { retry: { retries: 2, baseMs: 0, maxMs: 0 }, ...ways });
        server.clearFaults();
        for (const [index, [, change]] of sequence.entries())
          server.fault({ part: "storage", after: index, times: 1 }, change);
        const outcome = await hub.file("org/tiny", "onnx/model.onnx").then(holdsWeights, FavorError.isInstance);
        expect(outcome).toBe(true);
        // A blob under its final name is always whole.
        const blobs = join(folder, "models--org--tiny/blobs");
        const finished = (await readdir(blobs)).filter((name) => !name.includes(".incomplete"));
        expect(await Promise.all(finished.map((name) => holdsWeights(join(blobs, name))))).not.toContain(false);
        server.clearFaults();
        expect(await holdsWeights(await hub.file("org/tiny", "onnx/model.onnx"))).toBe(true);
        expect(await readdir(join(folder, "models--org--tiny/blobs"))).toHaveLength(1);
      }),
      { numRuns: 60, seed: 1 },
    );
  });
});

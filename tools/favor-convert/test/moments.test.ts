import { join } from "node:path";

import type { HeadMoments } from "@favor/core/calibration";
import { createMessage } from "@favor/onnx";
import { findAttention } from "@favor/rewriter";
import type { ModelProto } from "@favor/onnx";
import { openModel, writeModel } from "@favor/onnx/node";
import Long from "long";
import { expect, test } from "vitest";

import { MomentSums } from "../src/calibrate/moments.ts";
import { gatherUnpaddedMoments } from "../src/calibrate/unpadded-moments.ts";
import { ModelRunner } from "@favor/measure";
import { loadSequences } from "@favor/measure/tokens";
import { loadTokenizer } from "@favor/measure/tokens";
import { calibration, tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

async function someSequences(): Promise<(readonly number[])[]> {
  const settings = { count: 3, seed: 0, maximumTokens: 160, longer: "cut" as const, column: undefined };
  const { sequences } = await loadSequences(calibration, await loadTokenizer(tiny), settings);
  return sequences.map(({ ids }) => ids);
}

/** The tiny checkpoint's model for batches of `batch` sequences of `length` tokens alone. */
function fixShape(model: ModelProto, batch: number, length: number): void {
  for (const { type } of model.graph.input) {
    type!.tensorType!.shape!.dim = [batch, length].map((size) =>
      createMessage("DimensionProto", { dimValue: Long.fromNumber(size) }),
    );
  }
}

async function runnerOf(edit: (model: ModelProto) => { readonly model: ModelProto }): Promise<ModelRunner> {
  const opened = await openModel(join(tiny, "onnx", "model.onnx"));
  const path = join(await temporaryFolder(), "tapped.onnx");
  await writeModel(edit(opened.model).model, path);
  opened.close();
  return ModelRunner.open(path, { threads: 1, padId: 0 });
}

const numbersOf = (all: readonly HeadMoments[]): number[] =>
  all.flatMap(({ queryMean, keyMean, queryCovariance, keyCovariance }) =>
    [queryMean, keyMean, queryCovariance, keyCovariance].flatMap((values) => [...values]),
  );

function largestDifference(a: readonly HeadMoments[], b: readonly HeadMoments[]): number {
  const other = numbersOf(b);
  return Math.max(...numbersOf(a).map((value, i) => Math.abs(value - other[i]!)));
}

test("sums of the graph, queries and keys themselves, and those of a padded model give the same moments", async () => {
  const ids = await someSequences();
  const opened = await openModel(join(tiny, "onnx", "model.onnx"));
  const found = findAttention(opened.model);
  const [{ taps }, { taps: samples }] = [found.tapMoments(), found.tapSamples()];
  opened.close();
  const sums = new MomentSums(taps);
  const summing = await runnerOf((model) => findAttention(model).tapMoments());
  for (const each of ids) sums.add(await summing.runAll([each], sums.names));
  const summed = sums.moments();
  const whole = await gatherUnpaddedMoments(
    await runnerOf((model) => findAttention(model).tapSamples()),
    samples,
    ids,
    () => {},
  );
  // More rows and more positions than a sequence has.
  const longest = Math.max(...ids.map(({ length }) => length)) + 9;
  const padded = await runnerOf((model) => {
    fixShape(model, 2, longest);
    return findAttention(model).tapSamples();
  });
  expect([padded.fixedBatch, padded.fixedLength]).toEqual([2, longest]);
  const unpadded = await gatherUnpaddedMoments(padded, samples, ids, () => {});
  expect(summed).toHaveLength(4);
  for (const [site, moments] of summed.entries()) {
    expect(largestDifference(moments!, whole[site]!)).toBeLessThan(1e-4);
    expect(largestDifference(moments!, unpadded[site]!)).toBeLessThan(1e-4);
  }
});

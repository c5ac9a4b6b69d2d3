/**
 * How far FAVOR with ALiBi is from softmax with ALiBi, by length, on queries and keys like those of a model's heads.
 *
 *   npm run build && npm run alibi -w @favor/bench -- MODEL DOCUMENTS.jsonl [--count 128] [--lengths 512,4096,65536]
 *     [--slopes 0.5,0.0625,0.00390625] [--heads 0,8] [--features landmark] [--inputs documents]
 *
 * The model's own queries and keys of eight documents of 512 tokens give means and covariances, and landmarks. Inputs are then
 * Gaussian with these means and covariances, of any length; or, at 512 tokens, those of a ninth document. Prints a Markdown table: |out_hat - out| / |out| over 64 random
 * queries, for values that are independent and Gaussian, which is |P_hat - P|_F / |P|_F but for chance. Mean over heads.
 */
import { parseArgs } from "node:util";
import { createFeatureMap, favorAlibiAttention, RandomStream, streamPurpose } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import { calibrate, fitLandmarks, MomentAccumulator } from "@favor/core/calibration";
import type { AttentionInput, HeadMoments } from "@favor/core/calibration";
import { tappedHeads, type TappedHead } from "./tapped-heads.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: "string", default: "128" },
    lengths: { type: "string", default: "512,4096,65536" },
    slopes: { type: "string", default: "0.5,0.0625,0.00390625" },
    heads: { type: "string", default: "0,8" },
    features: { type: "string", default: "" },
    inputs: { type: "string", default: "gaussian" },
  },
});
const [modelPath, documents] = positionals;
if (documents === undefined) throw new Error("usage: alibi MODEL DOCUMENTS.jsonl [--lengths 512,4096]");
const count = Number(values.count);
const numbers = (list: string): number[] => list.split(",").map(Number);
const [lengths, slopes, wanted] = [numbers(values.lengths), numbers(values.slopes), numbers(values.heads)];
const measuredQueries = 64;
/** Width of the values: fewer columns cost time in proportion, and tell the same with less certainty. */
const valueDim = 8;
/** Lower triangle L with L L^T = covariance, which gets a little on its diagonal. */
function cholesky(covariance: Float64Array, dim: number): Float64Array {
  const lower = new Float64Array(dim * dim);
  for (let i = 0; i < dim; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = covariance[i * dim + j]! + (i === j ? 1e-9 : 0);
      for (let l = 0; l < j; l++) sum -= lower[i * dim + l]! * lower[j * dim + l]!;
      lower[i * dim + j] = i === j ? Math.sqrt(sum) : sum / lower[j * dim + j]!;
    }
  }
  return lower;
}

function gaussian(mean: Float64Array, covariance: Float64Array, rows: number, random: RandomStream): Float64Array {
  const dim = mean.length;
  const lower = cholesky(covariance, dim);
  const out = new Float64Array(rows * dim);
  for (let row = 0; row < rows; row++) {
    const z = random.gaussians(dim);
    for (let i = 0; i < dim; i++) {
      let sum = mean[i]!;
      for (let j = 0; j <= i; j++) sum += lower[i * dim + j]! * z[j]!;
      out[row * dim + i] = sum;
    }
  }
  return out;
}

/** softmax(q_i.k_j - slope |i - j|) V for some rows i, `[rows, valueDim]`. */
function exactRows(
  { query, key }: AttentionInput,
  value: Float64Array,
  rows: readonly number[],
  dim: number,
  slope: number,
  causal: boolean,
): Float64Array {
  const out = new Float64Array(rows.length * valueDim);
  for (const [r, i] of rows.entries()) {
    const seen = causal ? i + 1 : key.length / dim;
    const logits = new Float64Array(seen);
    let largest = -Infinity;
    for (let j = 0; j < seen; j++) {
      let sum = -slope * Math.abs(i - j);
      for (let l = 0; l < dim; l++) sum += query[i * dim + l]! * key[j * dim + l]!;
      logits[j] = sum;
      largest = Math.max(largest, sum);
    }
    let total = 0;
    for (let j = 0; j < seen; j++) {
      const weight = Math.exp(logits[j]! - largest);
      total += weight;
      for (let l = 0; l < valueDim; l++) out[r * valueDim + l]! += weight * value[j * valueDim + l]!;
    }
    for (let l = 0; l < valueDim; l++) out[r * valueDim + l]! /= total;
  }
  return out;
}

interface Head {
  readonly dim: number;
  readonly moments: HeadMoments;
  readonly inputs: readonly AttentionInput[];
  readonly heldOut: TappedHead;
}

const windows = await tappedHeads(modelPath!, documents, { windows: 9, length: 512 });
const heads: Head[] = windows[0]!.flatMap(({ dim }, head) => {
  if (!wanted.includes(head)) return [];
  const inputs = windows.slice(0, 8).map((window) => window[head]!);
  const accumulator = new MomentAccumulator(dim);
  for (const { query, key } of inputs) accumulator.add(query, key);
  return [{ dim, moments: accumulator.moments(), inputs, heldOut: windows[8]![head]! }];
});

/** The feature maps to compare, for a head and a slope. */
const allMaps: readonly (readonly [
  name: string,
  (head: Head, number: number, slope: number) => FeatureMapDescription,
])[] = [
  ["positive, calibrated", ({ moments }, head) => calibrate(moments, { count, seed: 0, head })],
  [
    "landmark, no slope in the fit",
    ({ inputs, moments }, head) => fitLandmarks(inputs, moments, { count, seed: 0, head }),
  ],
  ["landmark", ({ inputs, moments }, head, slope) => fitLandmarks(inputs, moments, { count, seed: 0, head, slope })],
];

/** Those whose name ends so. */
const maps = allMaps.filter(([name]) => name.endsWith(values.features));

const random = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
/** Mean relative error by [causal][map][slope][length]. */
const errors = new Map<string, number>();
for (const [number, head] of heads.entries()) {
  const described = slopes.map((slope) => maps.map(([, of]) => createFeatureMap(of(head, number, slope))));
  for (const length of lengths) {
    const { dim, moments } = head;
    const input =
      values.inputs === "documents"
        ? head.heldOut
        : {
            query: gaussian(moments.queryMean, moments.queryCovariance, length, random),
            key: gaussian(moments.keyMean, moments.keyCovariance, length, random),
          };
    const value = random.gaussians(length * valueDim);
    const rows = Array.from({ length: measuredQueries }, () => random.integer(length));
    for (const causal of [false, true]) {
      for (const [s, slope] of slopes.entries()) {
        const exact = exactRows(input, value, rows, dim, slope, causal);
        for (const [m, featureMap] of described[s]!.entries()) {
          const out = favorAlibiAttention(input.query, input.key, value, { featureMap, valueDim, slope, causal });
          let [difference, norm] = [0, 0];
          for (const [r, i] of rows.entries()) {
            for (let l = 0; l < valueDim; l++) {
              difference += (out[i * valueDim + l]! - exact[r * valueDim + l]!) ** 2;
              norm += exact[r * valueDim + l]! ** 2;
            }
          }
          const key = [causal, m, s, length].join();
          errors.set(key, (errors.get(key) ?? 0) + Math.sqrt(difference / norm) / heads.length);
        }
      }
      console.error(`head ${number + 1} of ${heads.length}, ${length} tokens, causal: ${causal}`);
    }
  }
}

for (const causal of [false, true]) {
  console.log(`\n${causal ? "Causal" : "Bidirectional"}:\n`);
  console.log(`| slope | features | ${lengths.join(" | ")} |`);
  console.log(`| --- | --- | ${lengths.map(() => "---").join(" | ")} |`);
  for (const [s, slope] of slopes.entries()) {
    for (const [m, [name]] of maps.entries()) {
      const cells = lengths.map((length) => errors.get([causal, m, s, length].join())!.toFixed(3));
      console.log(`| ${slope} | ${name} | ${cells.join(" | ")} |`);
    }
  }
}

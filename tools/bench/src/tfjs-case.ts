import type { FeatureMapDescription } from "@favor/core";
import { PerformerEncoderLayer, exactAttention, favorAttention, repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";

export const passes = ["forward", "gradients", "causal, gradients", "train step"] as const;
export type Pass = (typeof passes)[number];
export const kinds = ["softmax", "favor"] as const;
export type Kind = (typeof kinds)[number];

/** One cell: batch 1, `heads` heads of `dim`, M = `count`. */
export interface Case {
  readonly backend: string;
  readonly pass: Pass;
  readonly kind: Kind;
  /** L, tokens. */
  readonly length: number;
  readonly heads: number;
  readonly dim: number;
  readonly count: number;
  /** Time to repeat for, after one run to warm up; a run that takes longer by itself is not repeated. */
  readonly seconds: number;
}

export interface Cell extends Case {
  /**
   * The shortest of several runs: processor time on cpu and wasm, which others' programs do not change, elapsed time on
   * a device; undefined where the backend has no memory for it.
   */
  readonly milliseconds?: number | undefined;
  /** The most that tfjs held at once beyond the inputs and weights, by its own count. */
  readonly peakBytes?: number | undefined;
}

/** Starts the backend, repaired: it fails where memory ends. */
async function start(backend: string): Promise<void> {
  tf.enableProdMode();
  if (backend === "wasm") await import("@tensorflow/tfjs-backend-wasm");
  if (backend === "webgpu") {
    const { create, globals } = await import("webgpu");
    Object.assign(globalThis, globals);
    Object.defineProperty(globalThis, "navigator", { value: { gpu: create([]), userAgent: "" }, configurable: true });
    await import("@tensorflow/tfjs-backend-webgpu");
  }
  if (!(await tf.setBackend(backend))) throw new Error(`--backend: tfjs could not start "${backend}" here.`);
  await tf.ready();
  repairBackend(backend);
}

/** Watches the bytes that tfjs counts; returns the most since. */
function watchPeak(): () => number {
  const { state } = tf.engine();
  const before = state.numBytes;
  let [bytes, peak] = [before, before];
  Object.defineProperty(state, "numBytes", {
    get: () => bytes,
    set: (value: number) => {
      bytes = value;
      peak = Math.max(peak, value);
    },
  });
  return () => peak - before;
}

type Run = () => tf.Tensor;

function attentionRun({ pass, kind, length, heads, dim }: Case, featureMap: FeatureMapDescription): Run {
  const causal = pass === "causal, gradients";
  const inputs = [1, 2, 3].map((seed) => tf.randomNormal([1, heads, length, dim], 0, 1, "float32", seed));
  const attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Tensor =>
    kind === "softmax" ? exactAttention(q, k, v, { causal }) : favorAttention(q, k, v, { featureMap, causal });
  const [q, k, v] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor];
  if (pass === "forward") return () => attend(q, k, v);
  const gradients = tf.grads((a, b, c) => attend(a!, b!, c!));
  return () => gradients(inputs)[0]!;
}

/** A step of Adam on one encoder layer, all its weights and the attention inside. */
function trainStepRun({ kind, length, heads, dim }: Case, featureMap: FeatureMapDescription): Run {
  const modelDim = heads * dim;
  const attention = kind === "softmax" ? "exact" : featureMap;
  const model = tf.sequential();
  const sizes = { modelDim, numHeads: heads, feedForwardDim: 4 * modelDim };
  model.add(new PerformerEncoderLayer({ ...sizes, attention, inputShape: [length, modelDim] }));
  const optimizer = tf.train.adam(1e-3);
  const x = tf.randomNormal([1, length, modelDim], 0, 1, "float32", 1);
  const loss = (): tf.Scalar => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor));
  return () => optimizer.minimize(loss, true)!;
}

/** The shortest run, and the peak of all. */
async function measured(
  run: Run,
  seconds: number,
  onDevice: boolean,
): Promise<Pick<Cell, "milliseconds" | "peakBytes">> {
  const clock = (): number => {
    const { user, system } = process.cpuUsage();
    return onDevice ? performance.now() : (user + system) / 1000;
  };
  const timed = async (): Promise<number> => {
    const begun = clock();
    const result = tf.tidy(run);
    await result.data();
    result.dispose();
    return clock() - begun;
  };
  const peak = watchPeak();
  await timed();
  const begun = performance.now();
  let milliseconds = Infinity;
  do milliseconds = Math.min(milliseconds, await timed());
  while (performance.now() - begun < 1000 * seconds);
  return { milliseconds, peakBytes: peak() };
}

/** Measures one cell. To be called once in a process: where memory ends, the backend is of no more use. */
export async function measureCase(each: Case): Promise<Cell> {
  await start(each.backend);
  const featureMap: FeatureMapDescription = {
    version: 1,
    kind: "positive",
    projection: { kind: "orthogonal", count: each.count, dim: each.dim, seed: 1 },
  };
  try {
    const run = each.pass === "train step" ? trainStepRun(each, featureMap) : attentionRun(each, featureMap);
    return { ...each, ...(await measured(run, each.seconds, each.backend === "webgpu")) };
  } catch (error) {
    if (!(error instanceof RangeError || /memory|allocat|unreachable/i.test(String(error)))) throw error;
    return each;
  }
}

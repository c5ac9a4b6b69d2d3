// What must come out the same to the bit in every engine: run by the test in Node and, bundled, in a browser.
import {
  createKernels,
  createWorkers,
  drawProjection,
  exactAttention32,
  exponentialFeatures32,
  exponentialForm,
  FavorError,
  favorAttention32,
  RandomStream,
  streamPurpose,
} from "@favor/core";
import { calibrate, MomentAccumulator } from "@favor/core/calibration";
import type { ProjectionKind } from "@favor/core";

/** Digests by name. */
export type Digests = Record<string, string>;

const [heads, rows, dim, count] = [2, 150, 24, 40];
const shape = { heads, queryRows: rows, keyRows: rows, dim };

/** FNV-1a of the bytes, 64 bits in two halves of 32. */
function digest({ buffer, byteOffset, byteLength }: Float32Array | Float64Array): string {
  let [a, b] = [0x811c9dc5, 0x01000193];
  for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x85ebca6b);
  }
  return `${(a >>> 0).toString(16)} ${(b >>> 0).toString(16)}`;
}

function inputs(): [Float32Array, Float32Array, Float32Array] {
  const stream = new RandomStream({ seed: 5, purpose: streamPurpose.trials });
  const draw = () => Float32Array.from(stream.gaussians(heads * rows * dim));
  return [draw(), draw(), draw()];
}

function positiveFeatures() {
  const projection = { kind: "orthogonal", count, dim, seed: 3 } as const;
  return exponentialFeatures32(exponentialForm({ version: 1, kind: "positive", projection }), { scale: dim ** -0.5 });
}

/** Random projections of every kind, at sizes with their edge cases, and a calibrated feature map. */
export function projectionDigests(): Digests {
  const digests: Digests = {};
  for (const kind of ["iid", "orthogonal", "hadamard", "givens"] satisfies ProjectionKind[]) {
    for (const [m, d] of [
      [128, 64],
      [37, 11],
      [3, 256],
      [5, 1],
    ] as const) {
      digests[`${kind} ${m} x ${d}`] = digest(drawProjection({ kind, count: m, dim: d, seed: 2 ** 40 + 7, epoch: 2 }));
    }
  }
  const [query, key] = inputs();
  const moments = new MomentAccumulator(dim);
  moments.add(Float64Array.from(query), Float64Array.from(key));
  const { a, queryMatrix } = calibrate(moments.moments(), { count, seed: 1 });
  digests.calibrated = digest(Float64Array.of(...a, ...queryMatrix));
  return digests;
}

/** FAVOR and exact attention by the WebAssembly kernels that this engine runs. */
export function kernelDigests(): Digests {
  const digests: Digests = {};
  const [query, key, value] = inputs();
  const keyMask = Array.from({ length: rows }, (_, row) => (row % 7 === 3 ? 0 : 1));
  for (const simd of ["strict", "relaxed"] as const) {
    let kernels;
    try {
      kernels = createKernels({ simd });
    } catch (error) {
      if (simd === "relaxed" && FavorError.isInstance(error)) continue;
      throw error;
    }
    for (const causal of [false, true]) {
      const options = { causal, keyMask };
      const favor = favorAttention32(kernels, query, key, value, shape, positiveFeatures(), options);
      digests[`favor ${simd}, causal ${causal}`] = digest(favor);
      digests[`exact ${simd}, causal ${causal}`] = digest(
        exactAttention32(kernels, query, key, value, shape, { ...options, scale: dim ** -0.5 }),
      );
    }
  }
  return digests;
}

/** FAVOR on two workers. */
export async function workerDigest(): Promise<{ readonly sharedMemory: boolean; readonly favor: string }> {
  const workers = createWorkers({ threads: 2, simd: "strict" });
  const [query, key, value] = inputs();
  const favor = await workers.favorAttention32(query, key, value, shape, positiveFeatures(), { causal: true });
  workers.close();
  return { sharedMemory: workers.sharedMemory, favor: digest(favor) };
}

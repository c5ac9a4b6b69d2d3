import { ArgumentError, requireOptions } from "@favor/core";
import type { OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { requireShape, requireTensor } from "../attention-inputs.ts";
import { causalByChunks } from "./causal-chunks.ts";
import { causalOnCpu } from "./causal-cpu.ts";
import { causalOnWasm } from "./causal-wasm.ts";
import { causalOnWebGl } from "./causal-webgl.ts";
import { causalOnWebGpu } from "./causal-webgpu.ts";
import { zerosOf } from "./zeros.ts";

export interface CausalLinearAttentionOptions {
  /**
   * r `[groups, length]`, finite and never falling along the rows: pairs are weighted by exp(-|r_i - r_j|), for keys
   * whose weights are relative to the largest so far. A constant without a gradient. Default 0.
   */
  readonly reference?: tf.Tensor | undefined;
  /** Row i sees the keys i to the last instead of 0..i. Default false. */
  readonly reverse?: boolean | undefined;
}

const names: OptionNames<CausalLinearAttentionOptions> = { reference: true, reverse: true };

const kernelName = "CausalLinearAttention";
const ownKernels: Readonly<Record<string, tf.KernelFunc>> = {
  cpu: causalOnCpu,
  wasm: causalOnWasm,
  webgpu: causalOnWebGpu,
  webgl: causalOnWebGl,
};

/**
 * Causal linear attention (2009.14794, section 2.5.1) in float32:
 *
 *     y_i = sum over j <= i of (q_i.k_j) exp(r_j - r_i) v_j
 *
 * by a running sum `[features, width]`, in O(length features width) time. No row depends on later keys, bit for bit.
 *
 * It is differentiable in q, k and v. Its gradient is computed by itself, so only the inputs are kept for the backward
 * pass. It has kernels for cpu (typed arrays), wasm (SIMD in the backend's memory), webgpu (WGSL) and webgl 2 (GLSL).
 * Other backends use chunks of standard operations, with O(length (sqrt(length) + features)) memory.
 *
 * @param q `[groups, length, features]`.
 * @param k `[groups, length, features]`.
 * @param v `[groups, length, width]`.
 * @returns `[groups, length, width]`.
 * @throws ArgumentError, naming the argument, for a wrong rank or dtype, or shapes that disagree; FavorError `unknown-option`.
 */
export function causalLinearAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: CausalLinearAttentionOptions = {},
): tf.Tensor3D {
  requireOptions("options", options, names, "{ reverse: true }");
  const { reference, reverse = false } = options;
  for (const [name, x] of Object.entries({ q, k, v })) {
    requireTensor(name, x, "[groups, length, width]");
    if (x.rank !== 3) throw new ArgumentError(name, "a tensor [groups, length, width]", `[${x.shape}]`);
    if (x.dtype !== "float32") throw new ArgumentError(name, "a float32 tensor", x.dtype);
  }
  const [groups, length] = q.shape as [number, number, number];
  requireShape("k", k, q.shape);
  requireShape("v", v, [groups, length, v.shape[2]!]);
  if (reference) {
    requireTensor("reference", reference, "[groups, length]");
    requireShape("reference", reference, [groups, length]);
  }
  if (q.size * v.size === 0) return zerosOf([q, k, v], [groups, length, v.shape[2]!]) as tf.Tensor3D;
  registerOnBackend(tf.getBackend());
  return tf.tidy(() => {
    const inputs = { q, k, v, reference: reference ?? tf.zeros([groups, length]) };
    return tf.engine().runKernel(kernelName, inputs, { reverse }) as tf.Tensor3D;
  });
}

/**
 * Registers on first use rather than on import, so that importing changes nothing for programs without causal
 * attention.
 */
function registerOnBackend(backendName: string): void {
  if (!(tf.getGradient(kernelName) as tf.GradConfig | undefined)) {
    tf.registerGradient({ kernelName, inputsToSave: ["q", "k", "v", "reference"], gradFunc: gradient });
  }
  if (tf.getKernel(kernelName, backendName) as tf.KernelConfig | undefined) return;
  tf.registerKernel({ kernelName, backendName, kernelFunc: ownKernels[backendName] ?? causalByChunks });
}

/**
 * The gradients are sums over pairs i >= j too: that of a query runs forward over keys, those of a key and a value back
 * over queries.
 */
const gradient: tf.GradFunc = (dy, saved, attrs) => {
  const [q, k, v, reference] = saved as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
  const { reverse } = attrs as { reverse: boolean };
  const upstream = dy as tf.Tensor;
  const along = { reference, reverse };
  const back = { reference, reverse: !reverse };
  return {
    q: () => causalLinearAttention(upstream, v, k, along),
    k: () => causalLinearAttention(v, upstream, q, back),
    v: () => causalLinearAttention(k, q, upstream, back),
    reference: () => tf.zerosLike(reference),
  };
};

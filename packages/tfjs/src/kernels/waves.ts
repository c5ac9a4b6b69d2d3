import * as tf from "@tensorflow/tfjs-core";
import type { WebGlBackend } from "./webgl-backend.ts";
import { runProgram } from "./webgpu-program.ts";
import type { WebGpuBackend } from "./webgpu-program.ts";

/**
 * sin(x + quarters pi / 2) to 3e-7 for |x| up to 8192, in the statements that GLSL and WGSL share. Graphics devices may
 * compute sin and cos to 2^-11 only, and further off for large x. x is brought to [-pi/4, pi/4] with pi / 2 in three
 * parts, of which the first two have few digits, so that their multiples are exact (Cody and Waite); there the polynomials
 * of Cephes' sinf and cosf hold.
 */
const statements = (quarters: number, real: string): string => `
  ${real} n = floor(x * 0.6366197723675814 + 0.5);
  ${real} r = ((x - n * 1.5703125) - n * 0.0004837512969970703) - n * 0.0000000754978995489188;
  ${real} s = r * r;
  ${real} sine = r + r * s * (-0.16666654611 + s * (0.0083321608736 - s * 0.00019515295891));
  ${real} cosine = 1.0 - 0.5 * s + s * s * (0.04166664568298827 - s * (0.001388731625493765 - s * 0.00002443315711809948));
  ${real} quarter = n + ${quarters}.0 - 4.0 * floor((n + ${quarters}.0) * 0.25);`;

/** sin on webgl (`quarters` 0) or cos (1). */
const onWebGl =
  (quarters: number): tf.KernelFunc =>
  ({ inputs, backend }) => {
    const x = inputs["x"] as tf.TensorInfo;
    const userCode = `
  void main() {
    float x = getXAtOutCoords();
    ${statements(quarters, "float")}
    float y = quarter == 1.0 || quarter == 3.0 ? cosine : sine;
    setOutput(quarter >= 2.0 ? -y : y);
  }`;
    const program = { variableNames: ["X"], outputShape: x.shape, userCode };
    return (backend as WebGlBackend).runWebGLProgram(program, [x], "float32");
  };

const onWebGpu =
  (quarters: number): tf.KernelFunc =>
  ({ inputs, backend }) => {
    const x = inputs["x"] as tf.TensorInfo;
    const code = `
  fn main(index : i32) {
    if (index >= uniforms.size) { return; }
    let x = given[index];
    ${statements(quarters, "let")}
    let y = select(sine, cosine, quarter == 1.0 || quarter == 3.0);
    result[index] = select(y, -y, quarter >= 2.0);
  }`;
    return runProgram(backend as WebGpuBackend, {
      name: `wave ${quarters}`,
      code,
      inputs: { given: x },
      shape: x.shape,
    });
  };

/** Kernels of sin and cos for the backends whose own are off by more than float32 is, by backend. */
export const waveKernels: Readonly<Record<string, { readonly sin: tf.KernelFunc; readonly cos: tf.KernelFunc }>> = {
  webgl: { sin: onWebGl(0), cos: onWebGl(1) },
  webgpu: { sin: onWebGpu(0), cos: onWebGpu(1) },
};

const sineName = "FavorSin";
const cosineName = "FavorCos";

/** sin(x) to the precision of float32 on every backend. */
export function sine(x: tf.Tensor): tf.Tensor {
  return wave(x) ? (tf.engine().runKernel(sineName, { x }) as tf.Tensor) : tf.sin(x);
}

/** cos(x) to the precision of float32 on every backend. */
export function cosine(x: tf.Tensor): tf.Tensor {
  return wave(x) ? (tf.engine().runKernel(cosineName, { x }) as tf.Tensor) : tf.cos(x);
}

/** Whether the current backend has kernels here; registers them on first use. */
function wave(x: tf.Tensor): boolean {
  const backendName = tf.getBackend();
  const own = waveKernels[backendName];
  if (!own || x.size === 0) return false;
  if (!(tf.getKernel(sineName, backendName) as tf.KernelConfig | undefined)) {
    tf.registerKernel({ kernelName: sineName, backendName, kernelFunc: own.sin });
    tf.registerKernel({ kernelName: cosineName, backendName, kernelFunc: own.cos });
  }
  if (!(tf.getGradient(sineName) as tf.GradConfig | undefined)) {
    registerGradient(sineName, cosine);
    registerGradient(cosineName, (given) => tf.neg(sine(given)));
  }
  return true;
}

function registerGradient(kernelName: string, slope: (x: tf.Tensor) => tf.Tensor): void {
  tf.registerGradient({
    kernelName,
    inputsToSave: ["x"],
    gradFunc: (dy, [x]) => ({ x: () => tf.mul(dy as tf.Tensor, slope(x!)) }),
  });
}

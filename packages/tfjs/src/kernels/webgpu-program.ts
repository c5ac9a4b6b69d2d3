import * as tf from "@tensorflow/tfjs";

/** The part of tfjs' webgpu backend that runs programs of others. */
export interface WebGpuBackend extends tf.KernelBackend {
  runWebGPUProgram(program: object, inputs: tf.TensorInfo[], dtype: tf.DataType): tf.TensorInfo;
}

export interface Program {
  /** Everything that is baked into the code and is not a shape's rank or a dtype: programs are cached by it. */
  readonly name: string;
  /**
   * WGSL with `fn main(index : i32)`, one call a thread. tfjs declares an array for each input by name and `result`,
   * and `uniforms` with `size` (numbers of the result), `outShape` and each input's `<name>Shape`.
   */
  readonly code: string;
  /** By the names that the code uses. */
  readonly inputs: Readonly<Record<string, tf.TensorInfo>>;
  readonly shape: number[];
  /** Default: one for each number of the result. */
  readonly threads?: number | undefined;
}

const workgroup = 64;

/** Runs a WGSL program with a float32 result. */
export function runProgram(backend: WebGpuBackend, { name, code, inputs, shape, threads }: Program): tf.TensorInfo {
  const program = {
    variableNames: Object.keys(inputs),
    outputShape: shape,
    shaderKey: `favor ${name}`,
    dispatchLayout: { x: shape.map((_, axis) => axis) },
    dispatch: [Math.ceil((threads ?? tf.util.sizeFromShape(shape)) / workgroup), 1, 1],
    workgroupSize: [workgroup, 1, 1],
    size: true,
    getUserCode: () => code,
  };
  return backend.runWebGPUProgram(program, Object.values(inputs), "float32");
}

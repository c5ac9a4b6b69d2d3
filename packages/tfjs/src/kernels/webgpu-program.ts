import * as tf from "@tensorflow/tfjs-core";

/** The part of tfjs' webgpu backend that runs custom programs. */
export interface WebGpuBackend extends tf.KernelBackend {
  runWebGPUProgram(program: object, inputs: tf.TensorInfo[], dtype: tf.DataType): tf.TensorInfo;
}

export interface Program {
  /**
   * Programs are cached by this key: it names everything baked into the code besides the ranks and dtypes of the
   * inputs.
   */
  readonly name: string;
  /**
   * WGSL with `fn main(index : i32)`, called once per thread. tfjs declares an array per input, by its name, and
   * `result`, and `uniforms` with `size` (how many numbers the result has), `outShape` and `<name>Shape` per input.
   */
  readonly code: string;
  /** The inputs, by their names in the code. */
  readonly inputs: Readonly<Record<string, tf.TensorInfo>>;
  readonly shape: number[];
  /** Default: one per number of the result. */
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

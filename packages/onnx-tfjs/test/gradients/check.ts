import { createMessage, DataType, type ModelProto, type NodeProto, type ValueInfoProto } from "@favor/onnx";
import { encodeTensor, evaluateGraph, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs";
import Long from "long";
import { node } from "@favor/test-support/nodes";
import { OnnxModel } from "../../src/index.ts";
import { isRandom, type GradientCase, type RandomInput } from "./case.ts";

/** Uniform numbers in [0, 1), the same in every run (Park and Miller's generator). */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

function drawn({ shape, low, high, signed }: RandomInput, next: () => number): Tensor {
  const values = Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    const size = low + (high - low) * next();
    return signed && next() < 0.5 ? -size : size;
  });
  // float32 numbers, so that both sides start from the same.
  return tensorOf(DataType.DOUBLE, shape, Float32Array.from(values));
}

const named = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

export function floatInput(name: string): ValueInfoProto {
  const type = { tensorType: { elemType: DataType.FLOAT }, denotation: "" };
  return createMessage("ValueInfoProto", { name, type });
}

/** One case with its numbers drawn. */
export interface Drawn {
  readonly nodes: readonly NodeProto[];
  readonly opsets: ReadonlyMap<string, number>;
  readonly constants: ReadonlyMap<string, Tensor>;
  /** Values to differentiate for, in double precision. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly losses: readonly string[];
}

export function draw(given: GradientCase): Drawn {
  const next = uniform(77);
  const own = given.inputs.slice(0, given.own ?? given.inputs.length);
  const names = own.map((input, i) => (input === null ? "" : `in${i}`));
  const outputs = named("out", given.outputs ?? 1);
  const inputs = new Map<string, Tensor>();
  const constants = new Map<string, Tensor>();
  for (const [i, input] of given.inputs.entries()) {
    if (input === null) continue;
    if (isRandom(input)) inputs.set(`in${i}`, drawn(input, next));
    else constants.set(`in${i}`, input);
  }
  return {
    nodes: given.nodes ?? [node(given.op, names, outputs, given.attributes)],
    opsets: new Map([
      ["", given.opset ?? 23],
      ["com.microsoft", 1],
    ]),
    constants,
    inputs,
    losses: given.floats?.map((i) => outputs[i]!) ?? outputs,
  };
}

function doubled({ dataType, dims, data }: Tensor): Tensor {
  return tensorOf(dataType === DataType.FLOAT ? DataType.DOUBLE : dataType, dims, data);
}

/** The outputs that count, in double precision by the evaluator of `@favor/onnx`. */
function exact(drawing: Drawn, given: GradientCase, inputs: ReadonlyMap<string, Tensor>): Tensor[] {
  const constants = [...drawing.constants].map(([name, tensor]): [string, Tensor] => [name, doubled(tensor)]);
  const results = evaluateGraph(given.reference ?? drawing.nodes, drawing.losses, new Map([...constants, ...inputs]), {
    opsets: drawing.opsets,
  });
  return drawing.losses.map((name) => results.get(name)!);
}

/** A weight in [0.5, 1.5] for each element of an output: their weighted sum is the loss. */
function weightsOf(dims: readonly number[], output: number): Float32Array {
  const next = uniform(1000 + output);
  return Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => 0.5 + next());
}

function weighted(outputs: readonly Tensor[]): number {
  let loss = 0;
  for (const [i, { dims, data }] of outputs.entries()) {
    const weights = weightsOf(dims, i);
    for (let j = 0; j < data.length; j++) loss += weights[j]! * data[j]!;
  }
  return loss;
}

export function modelOf({ nodes, opsets, constants, inputs }: Drawn): ModelProto {
  const opsetImport = [...opsets].map(([domain, version]) =>
    createMessage("OperatorSetIdProto", { domain, version: Long.fromNumber(version) }),
  );
  const graph = createMessage("GraphProto", {
    name: "case",
    node: [...nodes],
    input: [...inputs.keys()].map(floatInput),
    initializer: [...constants].map(([name, tensor]) => encodeTensor(name, tensor)),
    output: nodes.flatMap(({ output }) => output.map(floatInput)),
  });
  return createMessage("ModelProto", { irVersion: Long.fromNumber(10), opsetImport, graph });
}

export interface Checked {
  /** Largest difference of an output from the exact one, over the largest of 1 and its own size. */
  readonly value: number;
  /** For each input: largest error of the derivative in some directions, over the norms of gradient and direction. */
  readonly gradients: readonly number[];
  /** For each input: the norm of its gradient. */
  readonly norms: readonly number[];
  /** Tensors that the run left behind. */
  readonly leaked: number;
}

const step = 1e-5;
const directions = 3;

/**
 * Runs one case on the backend in use and differentiates a weighted sum of its outputs there; the reference is the
 * central difference in double precision along random directions.
 */
export async function checkGradients(given: GradientCase): Promise<Checked> {
  const drawing = draw(given);
  const expected = exact(drawing, given, drawing.inputs);
  const before = tf.memory().numTensors;
  const model = await OnnxModel.load(modelOf(drawing), { trainable: () => false });
  const names = [...drawing.inputs.keys()];
  const given32 = names.map((name) => {
    const { dims, data } = drawing.inputs.get(name)!;
    return tf.tensor(Float32Array.from(data), [...dims], "float32");
  });
  let worst = 0;
  const { value, grads } = tf.valueAndGrads((...tensors: tf.Tensor[]) => {
    const outputs = model.run(Object.fromEntries(names.map((name, i) => [name, tensors[i]!])), {
      outputs: drawing.losses,
    });
    const terms = drawing.losses.map((name, i) => {
      const output = outputs[name]!;
      worst = Math.max(worst, valueError(output, expected[i]!));
      // Flat: products of more than six axes are wrong on wasm.
      return tf.sum(tf.mul(tf.reshape(output, [output.size]), tf.tensor1d(weightsOf(output.shape, i))));
    });
    return terms.reduce((a, b) => tf.add(a, b)) as tf.Scalar;
  })(given32);
  const found = grads.map((grad) => grad.dataSync());
  tf.dispose([value, grads, given32]);
  model.dispose();
  return {
    value: worst,
    gradients: names.map((name, i) => directionalError(drawing, given, name, found[i]!)),
    norms: found.map((grad) => Math.hypot(...grad)),
    leaked: tf.memory().numTensors - before,
  };
}

function valueError(found: tf.Tensor, expected: Tensor): number {
  if (found.shape.join() !== expected.dims.join()) return Infinity;
  const values = found.dataSync();
  let worst = 0;
  for (const [i, value] of expected.data.entries()) {
    const error = Math.abs(values[i]! - value) / Math.max(1, Math.abs(value));
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
  }
  return worst;
}

function directionalError(drawing: Drawn, given: GradientCase, name: string, gradient: ArrayLike<number>): number {
  const at = drawing.inputs.get(name)!;
  const next = uniform(5000);
  let worst = 0;
  for (let i = 0; i < directions; i++) {
    const direction = Float64Array.from(at.data, () => 2 * next() - 1);
    const moved = (sign: number): number => {
      const values = Float64Array.from(at.data, (x, j) => x + sign * step * direction[j]!);
      const inputs = new Map(drawing.inputs).set(name, tensorOf(DataType.DOUBLE, at.dims, values));
      return weighted(exact(drawing, given, inputs));
    };
    const expected = (moved(1) - moved(-1)) / (2 * step);
    let found = 0;
    for (let j = 0; j < direction.length; j++) found += direction[j]! * gradient[j]!;
    const error = Math.abs(found - expected) / (Math.hypot(...Array.from(gradient)) * Math.hypot(...direction) + 1e-6);
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
  }
  return worst;
}

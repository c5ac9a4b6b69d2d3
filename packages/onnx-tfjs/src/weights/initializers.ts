import { decodeTensor, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import { type ModelProto, type TensorProto } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs-core";
import { isFloatType, toDevice, type Value } from "../value.ts";
import { consumersOf, type Consumer } from "./consumers.ts";
import { frequencies } from "./frequencies.ts";

/** Frozen float initializers of more elements live on the device; smaller ones are sizes, bounds, epsilons. */
const mostOnHost = 16;

/**
 * Which float initializers of the main graph become variables. Exporters give weights names that say nothing
 * (onnx::MatMul_123): then the nodes that read one tell what it is.
 *
 * @param consumers none for an initializer that is an output of the graph alone, or is not used
 */
export type Trainable = (name: string, shape: readonly number[], consumers: readonly Consumer[]) => boolean;

/** The initializers of a model as values: variables, and constants that every run shares. */
export class Initializers {
  /** By initializer's name, in the order of the file. */
  readonly variables: Map<string, tf.Variable> = new Map();
  readonly #protos: ReadonlyMap<string, TensorProto>;
  /** Stay on the host at any size. */
  readonly #frequencies: ReadonlySet<string>;
  readonly #constants = new Map<TensorProto, Value>();
  readonly #hostConstants = new WeakSet<HostTensor>();
  readonly #uploaded = new Map<HostTensor, tf.Tensor>();

  constructor(model: ModelProto, trainable: Trainable | undefined) {
    this.#protos = new Map(model.graph.initializer.map((tensor) => [tensor.name, tensor]));
    this.#frequencies = frequenciesOf(model);
    const shared = new Map<string, tf.Variable>();
    const consumers = trainable === undefined ? undefined : consumersOf(model.graph);
    for (const [name, proto] of this.#protos) {
      if (!isFloatType(proto.dataType)) continue;
      const dims = proto.dims.map((dim) => dim.toNumber());
      if (!(trainable?.(name, dims, consumers?.get(name) ?? []) ?? (isWeight(dims) && !this.#frequencies.has(name))))
        continue;
      // Two initializers in one region of a file are one weight: tied.
      const region = regionOf(proto);
      let variable = region === undefined ? undefined : shared.get(region);
      if (variable === undefined) {
        const tensor = decodeTensor(proto);
        if (trainable === undefined && !isWeightLike(tensor)) continue;
        variable = tf.tidy(() => tf.variable(toDevice(tensor)));
        if (region !== undefined) shared.set(region, variable);
      }
      this.variables.set(name, variable);
    }
  }

  has(name: string): boolean {
    return this.#protos.has(name);
  }

  /** The value of the main graph's initializer of that name. */
  get(name: string): Value | undefined {
    const variable = this.variables.get(name);
    if (variable !== undefined) return variable;
    const proto = this.#protos.get(name);
    return proto === undefined ? undefined : this.constant(proto);
  }

  /** The value of a stored tensor that no run changes. */
  constant(proto: TensorProto): Value {
    let value = this.#constants.get(proto);
    if (value !== undefined) return value;
    const tensor = decodeTensor(proto);
    const large = tensor.data.length > mostOnHost && !this.#frequencies.has(proto.name);
    if (large && isFloatType(tensor.dataType)) value = tf.keep(toDevice(tensor));
    else {
      value = tensor;
      this.addConstant(tensor);
    }
    this.#constants.set(proto, value);
    return value;
  }

  addConstant(tensor: HostTensor): void {
    this.#hostConstants.add(tensor);
  }

  isConstant(tensor: HostTensor): boolean {
    return this.#hostConstants.has(tensor);
  }

  /** A constant on the device, where it stays. */
  upload(tensor: HostTensor): tf.Tensor {
    let uploaded = this.#uploaded.get(tensor);
    if (uploaded === undefined) this.#uploaded.set(tensor, (uploaded = tf.keep(toDevice(tensor))));
    return uploaded;
  }

  dispose(): void {
    tf.dispose([...this.variables.values()]);
    for (const value of this.#constants.values()) if (value instanceof tf.Tensor) value.dispose();
    tf.dispose([...this.#uploaded.values()]);
    this.#constants.clear();
    this.#uploaded.clear();
  }
}

/** Single numbers are constants of the graph, such as scales and epsilons. */
function isWeight(shape: readonly number[]): boolean {
  return shape.reduce((product, dim) => product * dim, 1) > 1;
}

function frequenciesOf({ graph }: ModelProto): Set<string> {
  const weights = graph.initializer.filter(
    ({ dims, dataType }) => isFloatType(dataType) && isWeight(dims.map((dim) => dim.toNumber())),
  );
  const stored = new Set(graph.initializer.map(({ name }) => name));
  const floats = graph.input.filter(
    ({ name, type }) => !stored.has(name) && isFloatType(type?.tensorType?.elemType ?? 0),
  );
  return frequencies(graph, new Set(weights.map(({ name }) => name)), new Set(floats.map(({ name }) => name)));
}

/** Masks are initializers too; they hold infinities or numbers that stand for them. */
function isWeightLike(tensor: HostTensor): boolean {
  return tensor.data.every((value) => Math.abs(value) < 1e4);
}

function regionOf(proto: TensorProto): string | undefined {
  if (proto.dataLocation !== 1) return undefined;
  const dims = proto.dims.map(String);
  return JSON.stringify([proto.dataType, dims, proto.externalData.map(({ key, value }) => [key, value]).toSorted()]);
}

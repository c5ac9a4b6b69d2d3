import Long from "long";
import { RandomStream, streamPurpose } from "@favor/core";
import { Tensor } from "onnxruntime-node";
import { convertAttention } from "@favor/rewriter";
import { NodeBuilder } from "@favor/onnx/graph";
import { Graph } from "@favor/onnx/graph";
import { encodeModel } from "@favor/onnx";
import { DataType, type ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { openSession } from "./onnxruntime.ts";
import { valueInfo } from "./small-model.ts";

export const heads = 2;
export const dim = 8;
export const hidden = heads * dim;

export interface LayerInput {
  readonly name: string;
  readonly dataType: number;
  readonly dims: readonly (number | string)[];
}

export const hiddenStates: LayerInput = { name: "x", dataType: DataType.FLOAT, dims: ["batch", "length", hidden] };
export const paddingMask: LayerInput = { name: "mask", dataType: DataType.INT64, dims: ["batch", "length"] };

/** Writes the nodes of one attention layer, as an exporter might. */
export class Layer extends NodeBuilder {
  #seed = 0;

  /** Weights of a fixed seed, uniform in +-scale. */
  weights(dims: readonly number[], scale: number = 0.6): string {
    const random = new RandomStream({ seed: this.#seed++, purpose: streamPurpose.sampling, layer: 0 });
    const size = dims.reduce((a, b) => a * b, 1);
    return this.floats(
      "weight",
      dims,
      Float32Array.from({ length: size }, () => (2 * random.uniform() - 1) * scale),
    );
  }

  linear(x: string, width: number = hidden, from: number = hidden): string {
    return this.op("Add", [this.op("MatMul", [x, this.weights([from, width])]), this.weights([width])]);
  }

  reshape(value: string, dims: readonly number[]): string {
    return this.op("Reshape", [value, this.integers(dims)]);
  }

  /** [batch, heads, length, dim] of a projection. */
  project(x: string, count: number = heads, width: number = dim): string {
    return this.transpose(this.reshape(this.linear(x, count * width), [0, 0, count, width]), [0, 2, 1, 3]);
  }

  logits(query: string, key: string): string {
    const product = this.op("MatMul", [query, this.transpose(key, [0, 1, 3, 2])]);
    return this.op("Mul", [product, this.scalar(1 / Math.sqrt(dim))]);
  }

  /** (1 - mask) * -1e9 as [batch, 1, 1, length]. */
  paddingBias(mask: string = "mask"): string {
    const float = this.unsqueeze(this.cast(mask, DataType.FLOAT), [1, 2]);
    return this.op("Mul", [this.op("Sub", [this.scalar(1), float]), this.scalar(-1e9)]);
  }

  /** Positions 0, 1, ... of the length of `x`, int64. */
  positions(x: string = "x"): string {
    const length = this.squeeze(this.dimension(x, 1), [0]);
    return this.op("Range", [this.integer(0), length, this.integer(1)]);
  }

  /** key position - query position, [length, length]. */
  distances(): string {
    const at = this.positions();
    return this.op("Sub", [this.unsqueeze(at, [0]), this.unsqueeze(at, [1])]);
  }

  /** Where(keep, logits, -1e9). */
  masked(keep: string, logits: string): string {
    return this.op("Where", [keep, logits, this.scalar(-1e9)]);
  }

  merge(context: string, width: number = hidden): string {
    return this.reshape(this.transpose(context, [0, 2, 1, 3]), [0, 0, width]);
  }

  /** Attention with what `normalise` makes of the scaled logits. */
  attend(normalise: (logits: string) => string, x: string = "x"): string {
    const [query, key, value] = [this.project(x), this.project(x), this.project(x)];
    return this.merge(this.op("MatMul", [normalise(this.logits(query, key)), value]));
  }
}

/**
 * Attention of twice as many query heads as key heads, as tf2onnx writes it: the query heads that share a key head lie
 * on one axis with the positions, and `normalise` gets them apart, [batch, heads, 2, length, length].
 */
export function groupedQueries(b: Layer, normalise: (logits: string) => string): string {
  const [query, key, value] = [b.project("x", 2 * heads), b.project("x"), b.project("x")];
  const length = b.dimension("x", 1);
  const shaped = (of: string, ...dims: string[]): string => b.op("Reshape", [of, b.concat(dims, 0)]);
  const logits = b.logits(b.reshape(query, [0, heads, -1, dim]), key);
  const apart = shaped(logits, b.integers([-1, heads, 2]), length, length);
  const folded = shaped(normalise(apart), b.integers([0, heads, -1]), length);
  return b.merge(b.reshape(b.op("MatMul", [folded, value]), [0, 2 * heads, -1, dim]), 2 * hidden);
}

export interface LayerOptions {
  readonly inputs?: readonly LayerInput[];
  readonly opset?: number;
}

/** A model of what `write` writes: it returns the output's value. */
export function layerModel(write: (layer: Layer) => string, options: LayerOptions = {}): ModelProto {
  const { inputs = [hiddenStates, paddingMask], opset = 17 } = options;
  const imports = ["", "com.microsoft"].map((domain) =>
    createMessage("OperatorSetIdProto", { domain, version: Long.fromNumber(domain === "" ? opset : 1) }),
  );
  const proto = createMessage("GraphProto", {
    name: "layer",
    input: inputs.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims)),
  });
  const graph = new Graph(proto, new Map([["", opset]]));
  const layer = new Layer(graph, "layer");
  const made = write(layer);
  layer.op("Identity", [made], {}, { output: "out" });
  proto.output.push(valueInfo("out", DataType.FLOAT, null));
  layer.commit();
  graph.reindex();
  return createMessage("ModelProto", { irVersion: Long.fromNumber(9), opsetImport: imports, graph: proto });
}

const lengths = new Map<string, number>([
  ["batch", 2],
  ["length", 11],
  ["keys", 7],
]);

/** Random inputs; masks keep 11 and 6 of 11 positions, as does what is called `added` and hides by -1e4. */
function feedsOf(model: ModelProto): Record<string, Tensor> {
  const random = new RandomStream({ seed: 7, purpose: streamPurpose.sampling, layer: 1 });
  return Object.fromEntries(
    model.graph.input.map(({ name, type }) => {
      const { elemType, shape } = type!.tensorType!;
      const dims = shape!.dim.map((d) => (d.dimParam ? lengths.get(d.dimParam)! : d.dimValue!.toNumber()));
      const size = dims.reduce((a, b) => a * b, 1);
      if (name === "added") {
        const hides = Float32Array.from({ length: size }, (_, i) => (i % 11 < (i < 11 ? 11 : 6) ? 0 : -1e4));
        return [name, new Tensor("float32", hides, dims)];
      }
      if (elemType === DataType.FLOAT) {
        return [
          name,
          new Tensor(
            "float32",
            Float32Array.from({ length: size }, () => 2 * random.uniform() - 1),
            dims,
          ),
        ];
      }
      const keeps = (i: number): boolean => i % dims.at(-1)! < (i < dims.at(-1)! ? 11 : 6);
      if (elemType === DataType.BOOL)
        return [
          name,
          new Tensor(
            "bool",
            Uint8Array.from({ length: size }, (_, i) => Number(keeps(i))),
            dims,
          ),
        ];
      const values = dims.length === 1 ? [11, 6] : Array.from({ length: size }, (_, i) => Number(keeps(i)));
      return elemType === DataType.INT32
        ? [name, new Tensor("int32", Int32Array.from(values), dims)]
        : [name, new Tensor("int64", BigInt64Array.from(values, BigInt), dims)];
    }),
  );
}

/** Largest difference between a model's outputs and those of exact attention written again, at unpadded positions. */
export function reEmissionDifference(make: () => ModelProto, padded: boolean): Promise<number> {
  return outputDifference(make(), convertAttention(make(), { features: "exact", cross: true }).model, padded);
}

/** Largest difference between the outputs of two models with the same inputs, at unpadded positions. */
export async function outputDifference(model: ModelProto, other: ModelProto, padded: boolean): Promise<number> {
  const feeds = feedsOf(model);
  const before = await (await openSession(encodeModel(model))).run(feeds);
  const after = await (await openSession(encodeModel(other))).run(feeds);
  const [a, b] = [before["out"]!, after["out"]!];
  const width = a.dims.at(-1)!;
  const length = a.dims.at(-2)!;
  let worst = a.dims.join() === b.dims.join() ? 0 : Infinity;
  for (let i = 0; i < a.data.length; i++) {
    const position = Math.floor(i / width);
    if (padded && position >= length && position % length >= 6) continue;
    worst = Math.max(worst, Math.abs((a.data as Float32Array)[i]! - (b.data as Float32Array)[i]!));
  }
  return worst;
}

import { decodeTensor, elementCount, isSupportedType, type Tensor } from "@favor/onnx/evaluate";
import { readSmallTensor } from "@favor/onnx/graph";
import type { AttributeProto, NodeProto } from "@favor/onnx";
import { readsData } from "@favor/onnx/graph";
import { countSteps, type AttentionContext } from "../context.ts";
import type { Region, RegionLabels } from "../wiring/region.ts";

/** Constants up to this size are equal if their contents are; larger ones only if they are the same constant. */
const largestCompared = 2 ** 20;

/** An attribute written out; undefined for bodies, which nothing is like but themselves, and large tensors. */
function writtenAttribute({ name, type, i, f, s, ints, floats, g, graphs, t }: AttributeProto): string | undefined {
  if (g || graphs.length > 0) return undefined;
  const tensor = t ? readSmallTensor(t) : undefined;
  if (t && tensor === undefined) return undefined;
  const plain = [name, type, i.toString(), f, [...s], ints.join(), floats];
  return JSON.stringify([...plain, tensor && [tensor.dataType, tensor.dims, Array.from(tensor.data, String)]]);
}

/**
 * Numbers the values of one graph so that two of them have one number exactly if the same operators make them of the
 * same constants and inputs. The layers of a model differ in queries, keys and values alone: their regions have one
 * key, and what was proved of the first holds for all.
 */
export class RegionStructures {
  readonly #context: AttentionContext;
  /** Numbers by what makes a value, written out. */
  readonly #numbers = new Map<string, number>();
  readonly #leaves = new Map<string, number>();
  /** Numbers of values outside regions, such as the masks that layers share. */
  readonly #outside = new Map<string, number>();
  /** Constants of one size and type, to be compared in full. */
  readonly #constants = new Map<string, { readonly data: Tensor["data"]; readonly number: number }[]>();

  constructor(context: AttentionContext) {
    this.#context = context;
  }

  /** Equal for two regions that compute the same of their logits, at all sizes. */
  keyOf(region: Region, labels: RegionLabels): string {
    const logits = region.logits.output.value;
    const known = new Map([[logits, this.#number(`logits ${this.#shapes(logits)}`)]]);
    const inside = new Set(region.nodes);
    /** What is made of the logits. */
    const own = new Set([logits]);
    const made = region.probabilities.value;
    const pending = [made];
    for (let value = pending.at(-1); value !== undefined; value = pending.at(-1)) {
      countSteps(this.#context);
      const node = this.#producer(value);
      const before = node !== undefined && !inside.has(node) ? this.#outside.get(value) : undefined;
      if (before !== undefined && !known.has(value)) known.set(value, before);
      const reads = node === undefined || known.has(value) ? [] : this.#reads(node);
      const missing = reads.filter((v) => !known.has(v));
      if (missing.length > 0) {
        for (const other of missing) pending.push(other);
        continue;
      }
      pending.pop();
      if (known.has(value)) continue;
      const number = node === undefined ? this.#leaf(value) : this.#made(node, value, known, inside.has(node));
      known.set(value, number);
      if (node === undefined) continue;
      if (inside.has(node) || reads.some((v) => own.has(v))) own.add(value);
      else this.#outside.set(value, number);
    }
    return JSON.stringify([known.get(made), labels]);
  }

  #producer(value: string): NodeProto | undefined {
    if (this.#context.graph.isConstant(value)) return undefined;
    return this.#context.graph.owner(value)?.producer(value);
  }

  #reads(node: NodeProto): string[] {
    return [...readsData(node)].filter((value) => value !== "");
  }

  #made(node: NodeProto, value: string, known: ReadonlyMap<string, number>, isInside: boolean): number {
    const data = readsData(node);
    const inputs = node.input.map((input) => (data.has(input) ? known.get(input) : `shape ${this.#shapes(input)}`));
    const written = node.attribute.map(writtenAttribute);
    const attributes = written.includes(undefined) ? `of the node making ${value}` : written.toSorted();
    const operator = [node.domain, node.opType, attributes, inputs, node.output.indexOf(value), isInside];
    return this.#number(JSON.stringify(operator));
  }

  /** An input by its name, a constant by what it holds. */
  #leaf(value: string): number {
    const known = this.#leaves.get(value) ?? this.#numberOfLeaf(value);
    this.#leaves.set(value, known);
    return known;
  }

  #numberOfLeaf(value: string): number {
    const constant = this.#constant(value);
    if (constant === undefined) return this.#number(`named ${JSON.stringify(value)}`);
    const kind = `constant ${constant.dataType} ${constant.dims.join()}`;
    const alike = this.#constants.get(kind) ?? [];
    this.#constants.set(kind, alike);
    const same = alike.find(({ data }) => data.every((entry, i) => Object.is(entry, constant.data[i])));
    if (same !== undefined) return same.number;
    const number = this.#number(`${kind} ${alike.length}`);
    alike.push({ data: constant.data, number });
    return number;
  }

  #constant(value: string): Tensor | undefined {
    const { graph } = this.#context;
    const small = graph.constant(value);
    const proto = small === undefined ? graph.constantProto(value) : undefined;
    if (proto === undefined || !isSupportedType(proto.dataType)) return small;
    const size = elementCount(proto.dims.map((dim) => dim.toNumber()));
    return size <= largestCompared ? decodeTensor(proto) : undefined;
  }

  #shapes(value: string): string {
    const { first, second } = this.#context;
    const shapes = [first, second].map((probe) => probe?.info.get(value));
    if (shapes[0] === undefined) return `of ${JSON.stringify(value)}`;
    return shapes.map((shape) => `${shape?.dataType} ${shape?.dims.join()}`).join(" and ");
  }

  #number(written: string): number {
    const found = this.#numbers.get(written) ?? this.#numbers.size;
    this.#numbers.set(written, found);
    return found;
  }
}

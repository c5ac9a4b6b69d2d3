import { readsData } from "@favor/onnx/graph";
import { dimsOf, countSteps, varies, type AttentionContext } from "./context.ts";
import type { Product } from "./product.ts";

/** A free dimension of an input that may be a length: its sizes in the two probes. */
interface FreeDimension {
  readonly input: string;
  readonly size: number;
  readonly later: number | undefined;
}

/** The free lengths of a model's inputs, and which products depend on inputs that have one. */
export class FreeLengths {
  readonly #context: AttentionContext;
  readonly #dimensions: readonly FreeDimension[];
  /** The values made from inputs, by the inputs' names. */
  readonly #made = new Map<string, ReadonlySet<string>>();

  constructor(context: AttentionContext) {
    this.#context = context;
    this.#dimensions = context.graph.root.inputs.flatMap(({ name }) =>
      (dimsOf(context, name) ?? []).flatMap((size, axis) =>
        axis > 0 && varies(context, name, axis)
          ? [{ input: name, size, later: context.second?.info.get(name)?.dims[axis] }]
          : [],
      ),
    );
  }

  /**
   * Whether a product depends on an input with a free length. For a product in a body: whether the model has such an input.
   *
   * @param batch sizes of the product's varying batch axes: where lengths are baked in, what folds into these is the
   *   batch of a model that has its sequence first
   */
  reach({ left, right }: Product, batch: readonly number[]): boolean {
    const { graph } = this.#context;
    const lengths = this.#dimensions.filter((dimension) => !this.#isBatch(dimension, batch));
    if (lengths.length === 0 || graph !== graph.root) return lengths.length > 0;
    const made = this.#madeOf([...new Set(lengths.map(({ input }) => input))]);
    return made.has(left.value) || made.has(right.value);
  }

  #isBatch({ size, later }: FreeDimension, batch: readonly number[]): boolean {
    const { first, second } = this.#context;
    // An axis of the same name as the first of ids or a mask.
    if (size === first.sizes.batch && later === second?.sizes.batch) return true;
    return first.sizes.pinned !== undefined && batch.some((folded) => folded % size === 0);
  }

  /** The inputs, and all values computed from their contents. */
  #madeOf(inputs: readonly string[]): ReadonlySet<string> {
    const key = JSON.stringify(inputs);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const { graph } = this.#context;
    countSteps(this.#context, graph.nodes.length);
    const made = new Set(inputs);
    for (const node of graph.nodes) {
      for (const value of readsData(node)) {
        if (!made.has(value)) continue;
        for (const output of node.output) made.add(output);
        break;
      }
    }
    this.#made.set(key, made);
    return made;
  }
}

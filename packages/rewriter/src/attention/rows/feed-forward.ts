import type { NodeProto } from "@favor/onnx";
import { elementCount } from "@favor/onnx/evaluate";
import { allProducts, matrixProducts } from "@favor/onnx/semantics";
import { countSteps } from "../context.ts";
import type { RowPlan, RowSource, RowStep } from "./row-plan.ts";
import type { RowProbes } from "./row-probes.ts";
import { rowRules } from "./row-rules.ts";
import { isPlain, keyOfRows, wholeAxis, type Rows } from "./rows.ts";

/** A layer is worth blocks if it holds so many numbers per position at once for each number of its output. */
const leastWidth = 2;
/** A layer of more nodes is given up: feed-forward layers take some ten, with gates and an approximated GELU some thirty. */
const mostSteps = 128;

/**
 * Finds the feed-forward layers of a graph, W2 f(W1 x), by their second product: it makes few numbers of many, with
 * weights that are constant. What is wider than its output is followed up, row by row, to x.
 *
 * @returns how rows of each layer's output are made of rows of its input
 */
export function planFeedForwards(probes: RowProbes): RowPlan[] {
  return probes.context.graph.nodes.flatMap((node) => new FeedForwardPlanner(probes, node).plan() ?? []);
}

class FeedForwardPlanner {
  readonly #probes: RowProbes;
  readonly #down: NodeProto;
  readonly #width: number;
  readonly #steps: RowStep[] = [];
  readonly #known = new Map<string, RowSource | undefined>();

  constructor(probes: RowProbes, down: NodeProto) {
    this.#probes = probes;
    this.#down = down;
    this.#width = this.#elements(down.output[0]!) ?? Infinity;
  }

  plan(): RowPlan | undefined {
    const node = this.#down;
    const [wide = "", weights = ""] = node.input;
    const { graph } = this.#probes.context;
    if (!matrixProducts.has(node.opType) || !graph.isConstant(weights) || graph.isConstant(wide)) return undefined;
    const rows = this.#positions();
    if (rows === undefined || (this.#elements(wide) ?? 0) <= this.#width) return undefined;
    const output = this.#step(node, 0, rows);
    const counted = output && this.#counted();
    if (counted === undefined || !this.#isClosed() || this.#widest() < leastWidth * this.#width) return undefined;
    return { steps: this.#steps, output: output!, counted };
  }

  /** The axis of the output that is longer where the input is. */
  #positions(): Rows | undefined {
    const { longer, context } = this.#probes;
    const output = this.#down.output[0]!;
    const [short, long] = [context.first, longer].map((probe) => probe?.info.get(output)?.dims);
    const dims = this.#probes.dims(output);
    if (short === undefined || long === undefined || dims === undefined) return undefined;
    const grown = short.flatMap((size, axis) => (size === long[axis] ? [] : [axis]));
    if (grown.length !== 1) return undefined;
    return wholeAxis(
      grown[0]!,
      dims.map((each) => each[grown[0]!]!),
    );
  }

  #step(node: NodeProto, output: number, rows: Rows): RowStep | undefined {
    const { context } = this.#probes;
    countSteps(context);
    if (this.#isOfData(node)) return undefined;
    const sources = rowRules.get(node.opType)?.({
      node,
      output,
      rows,
      opset: context.graph.opset,
      along: false,
      dims: (name, body) => this.#probes.dims(name, body),
      numbers: (name) => this.#probes.numbers(name),
    });
    if (sources === undefined || sources.as !== undefined || this.#steps.length >= mostSteps) return undefined;
    const inputs: RowSource[] = [];
    for (const [index, value] of node.input.entries()) {
      const own = sources.inputs[index];
      const source: RowSource | undefined = own === undefined ? { kind: "whole", value } : this.#source(value, own);
      if (source === undefined) return undefined;
      inputs.push(source);
    }
    const step: RowStep = { node, rows, inputs, shape: sources.shape, as: undefined, once: false };
    this.#steps.push(step);
    return step;
  }

  /** Whether a node multiplies data by data, as attention does: that layer is another one. */
  #isOfData({ opType, input }: NodeProto): boolean {
    return allProducts.has(opType) && !input.some((value) => this.#probes.context.graph.isConstant(value));
  }

  #source(value: string, rows: Rows): RowSource | undefined {
    const key = `${keyOfRows(rows)} ${value}`;
    if (!this.#known.has(key)) this.#known.set(key, this.#follow(value, rows));
    return this.#known.get(key);
  }

  #follow(value: string, rows: Rows): RowSource | undefined {
    const { graph } = this.#probes.context;
    const elements = this.#elements(value);
    const node = graph.isConstant(value) ? undefined : graph.producer(value);
    if (elements === undefined) return undefined;
    if (elements <= this.#width || node === undefined)
      return isPlain(rows) ? { kind: "picked", value, rows } : undefined;
    const made = this.#steps.find((step) => step.node === node && keyOfRows(step.rows) === keyOfRows(rows));
    const output = node.output.indexOf(value);
    const step = made ?? this.#step(node, output, rows);
    return step && { kind: "made", step, output };
  }

  /** Whether nothing of the layer but its output is read elsewhere: it would be computed twice, and held all the same. */
  #isClosed(): boolean {
    const { graph } = this.#probes.context;
    const own = new Set(this.#steps.map(({ node }) => node));
    return this.#steps.every(
      ({ node }) =>
        node === this.#down ||
        node.output.every((value) => !graph.isOutput(value) && graph.consumers(value).every((each) => own.has(each))),
    );
  }

  #widest(): number {
    const sizes = this.#steps.flatMap(({ node }) => node.output.map((value) => this.#elements(value) ?? 0));
    return Math.max(...sizes);
  }

  #counted(): RowPlan["counted"] | undefined {
    for (const { inputs } of this.#steps) {
      for (const source of inputs) {
        if (source.kind === "picked" && source.rows.slices.length === 0) {
          return { value: source.value, axis: source.rows.axis };
        }
      }
    }
    return undefined;
  }

  /** Numbers in a value at the first probe. */
  #elements(value: string): number | undefined {
    const dims = this.#probes.context.first.info.get(value)?.dims;
    return dims && elementCount(dims);
  }
}

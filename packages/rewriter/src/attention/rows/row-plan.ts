import { DataType, type NodeProto } from "@favor/onnx";
import { describeNode, readsData, valuesAbove } from "@favor/onnx/graph";
import { allProducts, elementwiseOperators } from "@favor/onnx/semantics";
import { countSteps } from "../context.ts";
import { productAxes, type Factor } from "../product.ts";
import type { WeightedSum } from "../site.ts";
import { isAlwaysTrue } from "./always-true.ts";
import type { RowProbes } from "./row-probes.ts";
import type { RowSources } from "./row-call.ts";
import { rowRules } from "./row-rules.ts";
import { keyOfRows, wholeAxis, isPlain, type Rows } from "./rows.ts";

/** Where a node of a plan takes an input from. */
export type RowSource =
  /** All of a value that does not depend on the rows. */
  | { readonly kind: "whole"; readonly value: string }
  /** Rows of a value that is computed outside, or given. */
  | { readonly kind: "picked"; readonly value: string; readonly rows: Rows }
  /** The first row of such a value, whose rows are all the same. */
  | { readonly kind: "first"; readonly value: string; readonly rows: Rows }
  /** An output of another node of the plan. */
  | { readonly kind: "made"; readonly step: RowStep; readonly output: number };

/** A node of which some rows are computed. */
export interface RowStep {
  readonly node: NodeProto;
  /** Where the rows lie in its outputs. */
  readonly rows: Rows;
  readonly inputs: readonly RowSource[];
  readonly shape: RowSources["shape"];
  readonly as: RowSources["as"];
  /** All rows are the same: one of them is computed, once, and broadcast to the others. */
  readonly once: boolean;
}

const nothing: RowSource = { kind: "whole", value: "" };

/** How rows of an attention's output are computed from rows of its queries. */
export interface RowPlan {
  /** In graph order; the last makes the output. */
  readonly steps: readonly RowStep[];
  readonly output: RowStep;
  /** A value that has the rows on an axis of their own: its size is the number of queries. */
  readonly counted: { readonly value: string; readonly axis: number };
}

/** A plan of more nodes is given up: masks take some dozens. */
const mostSteps = 512;

/**
 * Follows the rows of an attention, one per query, from its output up to its queries: through everything of the size of
 * the logits, masks and biases included, until what is met has no row for each query, or is linear in their number.
 *
 * @returns a sentence if something of the size of the logits cannot be computed row by row
 */
export function planRows(probes: RowProbes, sum: WeightedSum): RowPlan | { readonly failure: string } {
  return new RowPlanner(probes).plan(sum);
}

/** Of ratios of sizes, which are no binary fractions. */
const rounding = 1e-6;

class NotByRows extends Error {}

class RowPlanner {
  readonly #probes: RowProbes;
  readonly #known = new Map<string, RowSource>();
  readonly #alike = new Map<string, boolean>();
  readonly #steps: RowStep[] = [];
  /** By how much values of the size of the logits are larger at the longer probe. */
  #growth = 1;
  #ofLogits: ReadonlySet<string> = new Set();
  readonly #mixed = new Map<string, boolean>();

  constructor(probes: RowProbes) {
    this.#probes = probes;
  }

  plan({ product, side, made }: WeightedSum): RowPlan | { readonly failure: string } {
    const axes = productAxes(product);
    const factor = product[side];
    const own = axes?.[side];
    if (axes === undefined || own?.length !== 1) return { failure: "its output has no single axis of queries" };
    const dims = this.#probes.dims(product.output.value);
    if (dims === undefined) return { failure: "the shape of its output is not known at every length" };
    const place = ({ value, labels }: Factor, label: string): Rows => {
      const axis = labels.indexOf(label);
      return wholeAxis(
        axis,
        (this.#probes.dims(value) ?? []).map((each) => each[axis]!),
      );
    };
    this.#ofLogits = made;
    try {
      const rows = place(product.output, own);
      const [queries, keys] = [place(factor, own), place(factor, axes.contracted)];
      this.#growth = this.#growthOf(queries) * this.#growthOf(keys);
      const weights = this.#source(factor.value, queries, keys, false);
      const inputs = product.node.input.map((value): RowSource =>
        value === factor.value ? weights : this.#whole(value),
      );
      const output: RowStep = { node: product.node, rows, inputs, shape: undefined, as: undefined, once: false };
      this.#steps.push(output);
      const counted = this.#counted();
      return { steps: this.#steps, output, counted };
    } catch (error) {
      if (error instanceof NotByRows) return { failure: error.message };
      throw error;
    }
  }

  #counted(): RowPlan["counted"] {
    for (const step of this.#steps) {
      for (const source of step.inputs) {
        if (source.kind === "picked" && isPlain(source.rows) && source.rows.slices.length === 0) {
          return { value: source.value, axis: source.rows.axis };
        }
      }
    }
    throw new NotByRows("no value has one entry for each query");
  }

  /** By how much there are more of them at the longer probe. */
  #growthOf({ size }: Rows): number {
    return this.#probes.longer === undefined ? 1 : size.at(-1)! / size[0]!;
  }

  /** All of a value, which must not be of the size of the logits itself. */
  #whole(value: string): RowSource {
    const { graph } = this.#probes.context;
    const isComputed = !graph.isConstant(value) && graph.owner(value)?.producer(value) !== undefined;
    if (isComputed && this.#hasLogitsSize(value)) {
      throw new NotByRows(`"${value}" has a number for each query and key, and all of it is needed for each query`);
    }
    return { kind: "whole", value };
  }

  /**
   * @param keys where the keys lie in the value, if they are known to lie along one axis of it
   * @param once whether the rows are all the same, and one is wanted
   */
  #source(value: string, rows: Rows, keys: Rows | undefined, once: boolean): RowSource {
    const key = `${once} ${keyOfRows(rows)} ${value}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const source = this.#follow(value, rows, keys, once);
    this.#known.set(key, source);
    return source;
  }

  #follow(value: string, rows: Rows, keys: Rows | undefined, once: boolean): RowSource {
    countSteps(this.#probes.context);
    const node = this.#followed(value, rows, keys);
    if (once && node === undefined && this.#isTrue(value, rows)) return { kind: "first", value, rows };
    if (node === undefined) {
      if (!isPickable(rows)) throw new NotByRows(`"${value}" has the queries and others on one axis`);
      return { kind: "picked", value, rows };
    }
    const output = node.output.indexOf(value);
    const sources = this.#sources(node, output, rows, false);
    if (sources === undefined) {
      throw new NotByRows(`${describeNode(node)} does not compute the row of each query by itself`);
    }
    const ofKeys = keys && this.#sources(node, output, keys, true)?.inputs;
    const broadcasts = elementwiseOperators.has(node.opType);
    const inputs = (sources.values ?? node.input).map((name, index): RowSource => {
      const [own, other] = [sources.inputs[index], ofKeys?.[index]];
      // The second input of CastLike is read for its type.
      if (own === undefined)
        return name === "" || (node.opType === "CastLike" && index === 1) ? nothing : this.#whole(name);
      const isAlike = broadcasts && isPlain(own) && this.#isAlike(name, own, other);
      return this.#source(name, own, other, once || isAlike);
    });
    if (this.#steps.length >= mostSteps) throw new NotByRows(`more than ${mostSteps} nodes make its weights`);
    const { shape, as } = sources;
    const step: RowStep = { node, rows, inputs, shape, as, once };
    this.#steps.push(step);
    return { kind: "made", step, output };
  }

  /** The node to go on with above a value; undefined where its rows are picked. */
  #followed(value: string, rows: Rows, keys: Rows | undefined): NodeProto | undefined {
    const { graph } = this.#probes.context;
    const node = graph.isConstant(value) ? undefined : graph.owner(value)?.producer(value);
    return this.#isQuadratic(value, rows, keys) || this.#isMadeOfQuadratic(value) ? node : undefined;
  }

  /** Whether a value is a condition that holds everywhere. */
  #isTrue(value: string, rows: Rows): boolean {
    const { graph, first } = this.#probes.context;
    return isPlain(rows) && first.info.get(value)?.dataType === DataType.BOOL && isAlwaysTrue(graph, value);
  }

  /** Whether all rows of a value are the same, because no row of anything enters it. */
  #isAlike(value: string, rows: Rows, keys: Rows | undefined): boolean {
    const key = `${keyOfRows(rows)} ${value}`;
    const known = this.#alike.get(key);
    if (known !== undefined) return known;
    countSteps(this.#probes.context);
    const node = this.#followed(value, rows, keys);
    const output = node?.output.indexOf(value) ?? 0;
    const sources = node && this.#sources(node, output, rows, false);
    const ofKeys = node && keys && this.#sources(node, output, keys, true)?.inputs;
    const isTrue = node === undefined && this.#isTrue(value, rows);
    const isMade =
      node !== undefined &&
      sources !== undefined &&
      sources.as !== "triangle" &&
      sources.as !== "then_branch" &&
      sources.as !== "else_branch" &&
      (sources.values ?? node.input).every((name, i) => {
        const own = sources.inputs[i];
        return own === undefined || this.#isAlike(name, own, ofKeys?.[i]);
      });
    this.#alike.set(key, isTrue || isMade);
    return isTrue || isMade;
  }

  #sources(node: NodeProto, output: number, rows: Rows, along: boolean): RowSources | undefined {
    const { context } = this.#probes;
    return rowRules.get(node.opType)?.({
      node,
      output,
      rows,
      opset: context.graph.opset,
      along,
      dims: (name, body) => this.#probes.dims(name, body),
      numbers: (name) => this.#probes.numbers(name),
    });
  }

  /** Whether a value grows with the length as the logits do. */
  #hasLogitsSize(value: string): boolean {
    const growth = this.#probes.growth(value) ?? 1;
    return this.#growth > 1 && growth > this.#growth * (1 - rounding);
  }

  /** Whether what belongs to one row grows with the number of keys. */
  #isQuadratic(value: string, rows: Rows, keys: Rows | undefined): boolean {
    const growth = this.#probes.growth(value);
    const longer = this.#growthOf(rows);
    return growth === undefined || longer === 1 ? keys !== undefined : growth > longer * (1 + rounding);
  }

  /**
   * Whether a value is made of one of the size of the logits without a product in between: a statistic of each row, say,
   * which cannot be picked without computing all rows at once.
   */
  #isMadeOfQuadratic(value: string): boolean {
    if (this.#ofLogits.has(value)) return true;
    const known = this.#mixed.get(value);
    if (known !== undefined) return known;
    const { graph } = this.#probes.context;
    const producer = (at: string): NodeProto | undefined => (graph.isConstant(at) ? undefined : graph.producer(at));
    let found = false;
    let left = mostSteps;
    for (const [at, node] of valuesAbove([value], producer, (above) =>
      allProducts.has(above.opType) ? [] : [...readsData(above)],
    )) {
      countSteps(this.#probes.context);
      found = node !== undefined && this.#hasLogitsSize(at);
      if (found || --left === 0) break;
    }
    this.#mixed.set(value, found);
    return found;
  }
}

/** Whether rows can be picked from a value: all but one of the numbers around them on their axis must be constant. */
const isPickable = ({ outer, inner }: Rows): boolean => isSteady(outer) || isSteady(inner);

const isSteady = (sizes: readonly number[]): boolean => sizes.every((size) => size === sizes[0]);

import { elementCount, isFloat, isInteger, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { DataType, type NodeProto, type ValueInfoProto } from "@favor/onnx";
import type { Graph, GraphProbe } from "@favor/onnx/graph";
import { copyingOperators, orderComparisons } from "@favor/onnx/semantics";
import type { AttentionContext } from "../context.ts";

/** The numbers that an input may hold, judged by what the model does with them. */
type InputUse =
  /** Any row of a table: token ids, positions, kinds of tokens. */
  | { readonly kind: "ids"; readonly rows: number }
  /** How long sequences are. */
  | { readonly kind: "lengths" }
  /** 0 and 1, as it is multiplied by a number far below zero or summed up. */
  | { readonly kind: "zero or one" }
  /** 0 and a number far below it, as it is added to the logits. */
  | { readonly kind: "additive" }
  /** Any number: integers are compared with one another or with constants, fractions multiply or divide. */
  | { readonly kind: "any"; readonly isCounted: boolean };

/** A value that is multiplied by more than this is a mask. */
const hidesKeys = 1e3;
/** How far positions that are fed lie apart. */
const positionStrides = [1, 5, 50, 1000];
/** The number that exporters add to logits to hide them. */
const additiveMask = -1e4;

/** 0: nothing is padding; 1: some of it is; 2: anything that the model takes. */
export type Draw = 0 | 1 | 2;

/** Draws inputs that a model may be fed, beyond zeros and ones where it takes more. */
export class InputDraws {
  readonly #context: AttentionContext;
  readonly #way: ReadonlySet<NodeProto>;
  readonly #region: ReadonlySet<NodeProto>;
  readonly #uses = new Map<string, InputUse>();
  readonly #compared = new Map<string, readonly number[]>();
  /** The next id of each table, so that all ids are drawn, however large the vocabulary. */
  readonly #next = new Map<string, number>();

  /**
   * @param way nodes that the mask is made by
   * @param region nodes between logits and probabilities: what they make is not the input's any more
   */
  constructor(context: AttentionContext, way: ReadonlySet<NodeProto>, region: readonly NodeProto[]) {
    this.#context = context;
    this.#way = way;
    this.#region = new Set(region);
  }

  /** Whether every row of every table that was looked up has been drawn. */
  get hasDrawnAll(): boolean {
    return [...this.#uses].every(([name, use]) => use.kind !== "ids" || (this.#next.get(name) ?? 0) >= use.rows);
  }

  /** Forgets which rows of tables were drawn: padding may have hidden them. */
  startOver(): void {
    this.#next.clear();
  }

  /**
   * @param read names of the values that the mask is made of: other inputs are not drawn
   */
  at(probe: GraphProbe, read: ReadonlySet<string>, draw: Draw, random: () => number): Map<string, Tensor> {
    const feeds = new Map<string, Tensor>();
    for (const input of this.#context.graph.root.inputs) {
      const shape = probe.info.get(input.name);
      if (shape === undefined || !read.has(input.name)) continue;
      feeds.set(input.name, this.#input(input, shape.dims, shape.dataType, probe, draw, random));
    }
    return feeds;
  }

  #input(
    { name }: ValueInfoProto,
    dims: readonly number[],
    dataType: number,
    probe: GraphProbe,
    draw: Draw,
    random: () => number,
  ): Tensor {
    const use = this.#useOf(name, dims, dataType);
    const count = elementCount(dims);
    const width = dims.at(-1) ?? 1;
    const of = (value: (i: number) => number): Tensor =>
      tensorOf(
        dataType,
        dims,
        Float64Array.from({ length: count }, (_, i) => value(i)),
      );
    const isPadded = draw === 0 ? () => false : padding(count / width, width, draw, random);
    const below = (bound: number): number => Math.floor(random() * bound);
    switch (use.kind) {
      case "ids": {
        const compared = (this.#compared.get(name) ?? []).filter((id) => id >= 0 && id < use.rows);
        const step = coprime(use.rows);
        return of((i) => {
          if (compared.length > 0 && isPadded(i)) return compared[below(compared.length)]!;
          const id = this.#next.get(name) ?? 0;
          this.#next.set(name, id + 1);
          return (id * step) % use.rows;
        });
      }
      case "lengths":
        return of(() => (draw === 0 ? probe.sizes.length : 1 + below(probe.sizes.length)));
      case "additive":
        return of((i) => (isPadded(i) ? additiveMask : 0));
      case "zero or one":
        // A float hides a key as soon as it is less than one.
        return of((i) => (!isPadded(i) ? 1 : draw === 2 && isFloat(dataType) ? [0, 0.25, 0.5][below(3)]! : 0));
      case "any":
        if (dataType === DataType.BOOL) return of((i) => (isPadded(i) ? 0 : 1));
        if (isInteger(dataType)) {
          // Positions, or segments of a packed sequence one after the other; then padding.
          const isPosition = use.isCounted && draw === 2;
          const stride = draw === 2 ? positionStrides[below(positionStrides.length)]! : 1;
          const segment = (i: number): number => 1 + Math.floor((5 * (i % width)) / width);
          return of((i) => (isPadded(i) ? 0 : isPosition ? (i % width) * stride : draw === 2 ? segment(i) : 1));
        }
        return of(() => [0.25, 0.5, 1, 2, 4][below(5)]!);
    }
  }

  #useOf(name: string, dims: readonly number[], dataType: number): InputUse {
    const known = this.#uses.get(name);
    if (known !== undefined) return known;
    const found = this.#find(name, dims, dataType);
    this.#uses.set(name, found);
    return found;
  }

  #find(name: string, dims: readonly number[], dataType: number): InputUse {
    const { graph } = this.#context;
    const met = meet(graph, name, this.#way, this.#region);
    this.#compared.set(name, met.compared);
    if (met.rows !== undefined) return { kind: "ids", rows: met.rows };
    if (dims.length <= 1 && isInteger(dataType)) return { kind: "lengths" };
    if (isFloat(dataType)) {
      if (met.hides) return { kind: "zero or one" };
      return dims.length >= 2 && met.isAdded ? { kind: "additive" } : { kind: "any", isCounted: true };
    }
    if (met.relates) return { kind: "any", isCounted: met.isCounted };
    return met.isCounted ? { kind: "zero or one" } : { kind: "any", isCounted: false };
  }
}

/** Which numbers are padding: some at the end of each row, at its beginning, or anywhere; never the whole row. */
function padding(rows: number, width: number, draw: 1 | 2, random: () => number): (i: number) => boolean {
  const kept = Array.from({ length: rows }, () => 1 + Math.floor(random() * width));
  const isFront = random() < 0.3;
  const holes = new Set<number>();
  if (draw === 2) for (let i = 0; i < rows * width; i += 1 + Math.floor(random() * 8)) holes.add(i);
  return (i) => {
    const [row, at] = [Math.floor(i / width), i % width];
    if (at === (isFront ? width - 1 : 0)) return false;
    return (isFront ? at < width - kept[row]! : at >= kept[row]!) || holes.has(i);
  };
}

/** A step that visits every one of so many numbers before it comes back. */
function coprime(count: number): number {
  const divides = (a: number, b: number): number => (b === 0 ? a : divides(b, a % b));
  let step = Math.max(1, Math.floor(count * 0.618));
  while (divides(step, count) !== 1) step++;
  return step;
}

interface Met {
  /** Rows of the smallest table that is looked up with the input. */
  readonly rows: number | undefined;
  /** Constants that it is compared with. */
  readonly compared: readonly number[];
  /** It is multiplied by a number far below zero. */
  readonly hides: boolean;
  readonly isAdded: boolean;
  /** It takes part in arithmetic, rather than in comparisons alone. */
  readonly isCounted: boolean;
  /** Its numbers are held against each other, as of positions, or divided, as of ids: they are more than zero and one. */
  readonly relates: boolean;
}

/** The nodes that read a value, in a body and around it; not those whose bodies capture it. */
function readersOf(graph: Graph, value: string): NodeProto[] {
  const around = graph.outer === undefined ? [] : readersOf(graph.outer, value);
  return [...graph.consumers(value).filter((node) => node.input.includes(value)), ...around];
}

/** What a model does with the numbers of an input, and with what is made of them element by element. */
function meet(graph: Graph, input: string, way: ReadonlySet<NodeProto>, region: ReadonlySet<NodeProto>): Met {
  const tables: number[] = [];
  const compared: number[] = [];
  let [hides, isAdded, isCounted, relates] = [false, false, false, false];
  const pending = [{ value: input, isChanged: false }];
  const seen = new Set([input]);
  for (let at = pending.pop(); at !== undefined && seen.size < mostValues; at = pending.pop()) {
    const { value, isChanged } = at;
    for (const node of readersOf(graph, value)) {
      const { opType } = node;
      const numbers = node.input.flatMap((name) => {
        const constant = name === value ? undefined : graph.constant(name);
        return constant?.data.length === 1 ? [constant.data[0]!] : [];
      });
      const rows = tableRows(graph, node, value);
      if (rows !== undefined && !isChanged) tables.push(rows);
      if (!way.has(node) && !region.has(node)) continue;
      if (opType === "EmbedLayerNormalization" && node.input[7] === value) hides = true;
      if (opType === "Equal" || orderComparisons.has(opType)) compared.push(...numbers.filter(Number.isInteger));
      if (opType === "Add" && numbers.length === 0 && !isChanged) isAdded = true;
      if (opType === "Mul" && numbers.some((number) => Math.abs(number) >= hidesKeys)) hides = true;
      const isRelated = node.input.filter((name) => seen.has(name)).length > 1;
      if (
        divides.has(opType) ||
        (bounds.has(opType) && !numbers.some((number) => Math.abs(number) >= hidesKeys)) ||
        (isRelated && (opType === "Sub" || opType === "Equal" || orderComparisons.has(opType)))
      ) {
        relates = true;
      }
      const copies = copyingOperators.has(opType) && node.input[0] === value;
      const computes = arithmetic.has(opType) || isNumberCast(node);
      if (computes && opType !== "Cast") isCounted = true;
      for (const output of (copies || computes) && way.has(node) ? node.output : []) {
        if (output === "" || seen.has(output)) continue;
        seen.add(output);
        pending.push({
          value: output,
          isChanged: isChanged || (computes && opType !== "Cast"),
        });
      }
    }
  }
  return { rows: tables.length > 0 ? Math.min(...tables) : undefined, compared, hides, isAdded, isCounted, relates };
}

/** Operators that take numbers apart, which nobody does with zeros and ones. */
const divides = new Set(["BitShift", "Mod"]);
/** Operators that bound numbers: what they do to more than zero and one, those do not show. */
const bounds = new Set(["Clip", "Max", "Min", "Relu", "Sign"]);
/** Values followed from an input. */
const mostValues = 256;
/** Operators whose result is a number made of the input's. */
const arithmetic = new Set(
  "Abs Add BitShift Ceil Clip CumSum Div Exp Floor Log Max Mean Min Mod Mul Neg Pow Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Round Sign Sqrt Sub Sum".split(
    " ",
  ),
);

/** A Cast to anything but booleans, which tell zero from other numbers and no more. */
function isNumberCast({ opType, attribute }: NodeProto): boolean {
  return opType === "Cast" && attribute.find(({ name }) => name === "to")?.i.toNumber() !== DataType.BOOL;
}

/** Inputs of EmbedLayerNormalization, tokens, segments and positions, with the input that holds the table of each. */
const embeddingOf: ReadonlyMap<number, number> = new Map([
  [0, 2],
  [1, 4],
  [8, 3],
]);

/** Rows of the table that a node looks up by this value. */
function tableRows(graph: Graph, node: NodeProto, value: string): number | undefined {
  const table = /^Gather(Elements|ND)?$/.test(node.opType)
    ? node.input[1] === value && node.input[0]
    : node.opType === "EmbedLayerNormalization" && node.input[embeddingOf.get(node.input.indexOf(value)) ?? -1];
  return table ? graph.initializerShape(table)?.dims[0] : undefined;
}

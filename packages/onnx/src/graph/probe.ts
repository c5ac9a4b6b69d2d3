import type { EvaluationLimits } from "../evaluate/call.ts";
import { evaluateNode } from "../evaluate/graph.ts";
import { elementCount, tensorOf, type Tensor } from "../evaluate/tensor.ts";
import { FavorError } from "@favor/core";
import { DataType, type GraphProto, type NodeProto, type ValueInfoProto } from "../model/proto.ts";
import { Graph } from "./graph.ts";
import { inferControlFlow } from "./control-flow-shapes.ts";
import { shapeOf } from "../semantics/shapes.ts";
import { ShapeCall } from "./shape-call.ts";
import { inferShapes } from "./shape-functions.ts";
import { ShapeConflict, type ShapeInfo } from "./shape-info.ts";

/** Sizes given to a model's free dimensions. */
export interface ProbeSizes {
  readonly batch: number;
  readonly length: number;
  /** Free dimensions of different names get different lengths, so that queries and keys of cross-attention differ. */
  readonly distinct: boolean;
  /** Height and width of images that are fed together with other inputs. Default: `length`. */
  readonly side?: number;
  /** Sizes, by name, of dimensions that the graph declares free although only one size works. */
  readonly pinned?: Readonly<Record<string, number>>;
}

/** Shapes of all values of a graph, and the values of those that follow from shapes alone, at one choice of input shapes. */
export interface Probe {
  readonly sizes: ProbeSizes;
  readonly inputs: ReadonlyMap<string, readonly number[]>;
  readonly info: ReadonlyMap<string, ShapeInfo>;
  /** The same for bodies of If, Loop and Scan that run at these sizes, at any depth; outer values included. */
  readonly bodies: ReadonlyMap<GraphProto, ReadonlyMap<string, ShapeInfo>>;
}

/** Values of up to this many elements are carried along. */
const valueElements = 1 << 16;
/** Limits of one node of shape arithmetic. If it makes more than is carried along, its shape is enough. */
const shapeArithmetic: Partial<EvaluationLimits> = { elements: 1 << 17, operations: 1 << 22 };

/** The cost of probing so far: nodes seen, and operations of the nodes that were computed. */
interface ProbingCost {
  operations: number;
}

/** Cost of inferring the shape of a node, in additions. */
const costOfNode = 64;
/** Operations of one probe after which values are no longer carried along. Real models take a hundredth of it. */
const mostOperations = 3e7;
/** Operations after which only the usual sizes are tried. An attempt takes 64,000 per thousand nodes. */
const mostForAttempts = 4e6;

/**
 * Runs a graph's shape arithmetic at concrete input shapes, so that every Shape, Gather, Concat and Reshape target
 * becomes a number, by whatever route the exporter computes it. No weight is read and no activation computed.
 *
 * @param last the last node that matters; default: the last of all nodes
 * @throws ShapeConflict if the graph cannot run at these sizes
 */
export function probe(graph: Graph, sizes: ProbeSizes, cost: ProbingCost = { operations: 0 }, last?: NodeProto): Probe {
  const inputs = new Map<string, readonly number[]>();
  const info = new Map<string, ShapeInfo>();
  const named = new Map<string, number>();
  // Ids and masks are [batch, length] and name their sizes first: states may have their sequence first.
  for (const input of graph.inputs.toSorted((a, b) => Number(hasTwoAxes(b)) - Number(hasTwoAxes(a)))) {
    const shape = inputShape(input, sizes, named);
    if (shape === undefined) continue;
    inputs.set(input.name, shape.dims);
    info.set(input.name, shape);
  }
  const bodies: BodyInfo = new Map();
  propagate(graph, info, { bodies, copied: 0, cost }, last);
  return { sizes, inputs, info, bodies };
}

const hasTwoAxes = ({ type }: ValueInfoProto): boolean => type?.tensorType?.shape?.dim.length === 2;

type BodyInfo = Map<GraphProto, Map<string, ShapeInfo>>;

/** Limit of shapes that bodies copy from the graphs around them: nested loops are run exponentially often. */
const mostCopied = 1 << 21;

interface Progress {
  readonly bodies: BodyInfo;
  copied: number;
  readonly cost: ProbingCost;
}

/**
 * Sizes for free dimensions: the first is a batch, later ones are lengths. A name has the same size everywhere, also as a
 * term of a sum: "past_sequence_length + sequence_length".
 */
function inputShape(input: ValueInfoProto, sizes: ProbeSizes, named: Map<string, number>): ShapeInfo | undefined {
  const type = input.type?.tensorType;
  if (!type?.shape) return undefined;
  const dims = type.shape.dim.map((dim, axis) => {
    if (dim.dimValue && dim.dimValue.gt(0)) return dim.dimValue.toNumber();
    const sized = (name: string): number => {
      const known = name === "" ? undefined : (sizes.pinned?.[name] ?? named.get(name));
      if (known !== undefined) return known;
      const size = freeSize(sizes, named, axis, type.shape!.dim.length);
      if (name !== "") named.set(name, size);
      return size;
    };
    const terms = (dim.dimParam ?? "").split("+").map((term) => term.trim());
    return terms.reduce((sum, term) => sum + (/^\d+$/.test(term) ? Number(term) : sized(term)), 0);
  });
  return { dims, dataType: type.elemType };
}

function freeSize(sizes: ProbeSizes, named: ReadonlyMap<string, number>, axis: number, rank: number): number {
  if (axis === 0) return sizes.batch;
  if (isChannel(rank, axis)) return 3;
  if (rank >= imageRank && axis > 1 && sizes.side !== undefined) return sizes.side;
  return sizes.distinct ? sizes.length + lengthsNamed(named, sizes) * 4 : sizes.length;
}

/** Inputs of so many axes or more are taken for images. */
const imageRank = 4;

/** The channels of an image whose number the exporter left open. */
const isChannel = (rank: number, axis: number): boolean => rank === 4 && axis === 1;

function lengthsNamed(named: ReadonlyMap<string, number>, sizes: ProbeSizes): number {
  return new Set([...named.values()].filter((size) => size !== sizes.batch)).size;
}

/** Shapes through the nodes of one graph; `info` holds what is known of its inputs and of outer values. */
function propagate(graph: Graph, info: Map<string, ShapeInfo>, progress: Progress, last?: NodeProto): void {
  for (const { name } of graph.proto.initializer) learnConstant(graph, name, info);
  for (const { values, dims } of graph.proto.sparseInitializer) {
    if (values) info.set(values.name, { dims: dims.map((dim) => dim.toNumber()), dataType: values.dataType });
  }
  for (const node of graph.nodes) {
    for (const name of node.input) if (name !== "" && !info.has(name)) learnConstant(graph, name, info);
    progress.cost.operations += costOfNode;
    const outputs = inferNode(graph, node, info, progress);
    outputs?.forEach((output, index) => {
      const name = node.output[index];
      if (name && output && isShape(output.dims)) info.set(name, output);
    });
    if (node === last) return;
  }
}

/** No runtime has tensors of more axes. */
const largestRank = 64;

/** False for the results of malformed nodes: sizes that are negative, fractional, absent or immense. */
const isShape = (dims: readonly number[]): boolean =>
  dims.length <= largestRank &&
  dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0) &&
  elementCount(dims) <= Number.MAX_SAFE_INTEGER;

function learnConstant(graph: Graph, name: string, info: Map<string, ShapeInfo>): void {
  const value = graph.constant(name);
  const shape = value ?? graph.initializerShape(name);
  if (shape === undefined) return;
  info.set(name, { dims: shape.dims, dataType: shape.dataType, ...(value && { value }) });
}

function inferNode(
  graph: Graph,
  node: NodeProto,
  info: ReadonlyMap<string, ShapeInfo>,
  progress: Progress,
): readonly (ShapeInfo | undefined)[] | undefined {
  const inputs = node.input.map((name) => (name === "" ? undefined : info.get(name)));
  switch (node.opType) {
    case "Constant": {
      const value = graph.constant(node.output[0] ?? "");
      const shape = value ?? graph.initializerShape(node.output[0] ?? "");
      return shape && [{ dims: shape.dims, dataType: shape.dataType, ...(value && { value }) }];
    }
    case "Shape":
      return inputs[0] && [known(shapeValue(new ShapeCall(node, [inputs[0]], graph.opsets), inputs[0].dims))];
    case "Size":
      return inputs[0] && [known(tensorOf(DataType.INT64, [], [elementCount(inputs[0].dims)]))];
    case "If":
    case "Loop":
    case "Scan":
      return inferControlFlow(node, inputs, (body, shapes) => {
        progress.copied += info.size + body.node.length;
        if (progress.copied > mostCopied) return [];
        const inner = new Map(info);
        const own = graph.body(body);
        body.input.forEach(({ name }, i) => {
          const shape = shapes[i];
          if (shape) inner.set(name, shape);
        });
        propagate(own, inner, progress);
        progress.bodies.set(body, inner);
        return body.output.map(({ name }) => inner.get(name));
      });
    default:
      return evaluated(graph, node, inputs, progress.cost) ?? inferShapes(node, inputs, graph.opsets);
  }
}

function shapeValue(call: ShapeCall, dims: readonly number[]): Tensor {
  const part = shapeOf(call, dims);
  return tensorOf(DataType.INT64, [part.length], part);
}

const known = (value: Tensor): ShapeInfo => ({ dims: value.dims, dataType: value.dataType, value });

/** The node's outputs, computed, if everything that it reads is known and small. */
function evaluated(
  graph: Graph,
  node: NodeProto,
  inputs: readonly (ShapeInfo | undefined)[],
  cost: ProbingCost,
): ShapeInfo[] | undefined {
  const values: (Tensor | null)[] = [];
  for (let i = 0; i < inputs.length; i++) {
    const value = inputs[i]?.value;
    if (value === undefined && node.input[i] !== "") return undefined;
    values.push(value ?? null);
  }
  if (cost.operations > mostOperations) return undefined;
  const spent = { operations: 0 };
  try {
    const outputs = evaluateNode(node, values, { opsets: graph.opsets, limits: shapeArithmetic, spent });
    return outputs.map((value) =>
      value.data.length <= valueElements ? known(value) : { dims: value.dims, dataType: value.dataType },
    );
  } catch (error) {
    // Whatever cannot be computed may still have a shape.
    if (FavorError.isInstance(error)) return undefined;
    throw error;
  } finally {
    cost.operations += spent.operations;
  }
}

export interface ProbePair {
  readonly first: Probe;
  readonly second: Probe | undefined;
}

/** Sizes to try in turn. They are primes, so that a dimension shows which sizes it is computed from. */
const attempts: readonly ProbeSizes[] = [
  { batch: 3, length: 13, distinct: true },
  { batch: 3, length: 13, distinct: false },
  { batch: 1, length: 13, distinct: false },
  { batch: 3, length: 1_613, distinct: false },
  { batch: 1, length: 16_001, distinct: false },
];

/** Sides of images to try: a position table fits the patches of one size only, and many tiny models exist. */
const imageSides: readonly number[] = (
  "224 16 32 64 384 256 128 96 48 112 192 448 512 518 336 378 8 12 20 24 28 36 40 56 30 " +
  "72 80 84 98 120 140 144 160 168 196 240 280 288 320 392 420 480 560 576 640 768 800 1024"
)
  .split(" ")
  .map(Number);

function attemptsFor(graph: Graph): ProbeSizes[] {
  const ranks = graph.inputs.map((input) => input.type?.tensorType?.shape?.dim.length ?? 0);
  if (!ranks.some((rank) => rank >= imageRank)) return [...attempts];
  // A text that is fed with the image has another length.
  const sized = (side: number): ProbeSizes =>
    ranks.every((rank) => rank >= imageRank)
      ? { batch: 3, length: side, distinct: false }
      : { batch: 3, length: 13, side, distinct: false };
  return [...attempts, ...imageSides.map(sized)];
}

/**
 * A probe at sizes that the graph can run at, and where possible a second one at other sizes, from which one sees
 * what each dimension depends on. A graph with sizes baked into its reshapes is tried at the sizes it names.
 */
export function probePair(graph: Graph): ProbePair | { conflict: ShapeConflict } {
  const queue = attemptsFor(graph);
  const names = freeNames(graph);
  // Sizes baked in for each dimension by itself, tried last.
  const pinning: ProbeSizes[] = [];
  const tried = new Set<string>();
  const cost: ProbingCost = { operations: 0 };
  let conflict: ShapeConflict | undefined;
  const next = (): ProbeSizes | undefined => queue.shift() ?? pinning.shift();
  for (let sizes = next(); sizes !== undefined; sizes = next()) {
    if (tried.size >= attempts.length && cost.operations > mostForAttempts) break;
    const key = JSON.stringify(sizes);
    if (tried.has(key)) continue;
    tried.add(key);
    try {
      const first = probe(graph, sizes, cost);
      return { first, second: secondProbe(graph, sizes) };
    } catch (error) {
      if (!(error instanceof ShapeConflict)) throw error;
      conflict ??= error;
      if (sizes.distinct && tried.size < mostTried) pinning.push(...pinnedSizes(sizes, names, error.wanted));
      if (sizes.pinned !== undefined) continue;
      if (tried.size > mostTried / 2) continue;
      for (const length of error.wanted.slice(0, 4)) {
        for (const batch of new Set([sizes.batch, 1])) queue.push({ batch, length, distinct: false });
      }
    }
  }
  return { conflict: conflict! };
}

/** The most choices of sizes that are tried. */
const mostTried = 128;

/** Names of the inputs' free dimensions. */
function freeNames(graph: Graph): string[] {
  const names = graph.inputs.flatMap(({ type }) =>
    (type?.tensorType?.shape?.dim ?? []).flatMap(({ dimValue, dimParam }) =>
      dimParam && !dimValue?.gt(0) ? [dimParam] : [],
    ),
  );
  return [...new Set(names)].slice(0, 6);
}

/** Each free dimension by itself at each of the sizes that a conflict names. */
function pinnedSizes(sizes: ProbeSizes, names: readonly string[], wanted: readonly number[]): ProbeSizes[] {
  const free = names.filter((name) => sizes.pinned?.[name] === undefined);
  return wanted
    .slice(0, 3)
    .flatMap((size) => free.map((name) => ({ ...sizes, pinned: { ...sizes.pinned, [name]: size } })));
}

/** Convolutions may shorten a sequence some hundred times. */
const longer = (size: number): number => size + Math.max(4, size >> 2);

/**
 * Another length, and another batch if the graph takes one: with a single batch, what depends on it looks constant. A
 * graph that does not run at a batch says which size it wanted there.
 */
function secondProbe(graph: Graph, sizes: ProbeSizes): Probe | undefined {
  const length = longer(sizes.length);
  const batch = sizes.batch + 2;
  const wanted = new Set<number>();
  const attempt = (other: ProbeSizes): Probe | undefined => {
    try {
      return probe(graph, other);
    } catch (error) {
      if (!(error instanceof ShapeConflict)) throw error;
      for (const size of error.wanted) if (size > 1 && size !== sizes.batch && size !== batch) wanted.add(size);
      return undefined;
    }
  };
  const withSide = sizes.side === undefined ? [] : [{ ...sizes, batch, length, side: longer(sizes.side) }];
  for (const other of [...withSide, { ...sizes, batch, length }]) {
    const found = attempt(other);
    if (found !== undefined) return found;
  }
  // A wanted length is no batch: a graph that folds the two into one may run with it, and mean something else.
  const batches = [...wanted].filter((size) => size !== length && size !== sizes.length).slice(0, mostBatches);
  for (const other of [
    ...batches.map((size) => ({ ...sizes, batch: size, length })),
    { ...sizes, length },
    { ...sizes, batch },
  ]) {
    const found = attempt(other);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The most batches that are tried because a graph wanted them. */
const mostBatches = 3;

import type { Graph } from "@favor/onnx/graph";
import { probe, type Probe } from "@favor/onnx/graph";
import { ShapeConflict } from "@favor/onnx/graph";
import { DataType, type ValueInfoProto } from "@favor/onnx";
import { cannotGrow, foldedForm, lengthConflict } from "./refusal.ts";

/** Input lengths to try in turn: short ones for text, long ones for convolutional front ends. */
const candidates = [5, 13, 224, 1_613, 16_001];

/** The same graph at two lengths of the input, `step` tokens apart. */
export interface TwoLengths {
  readonly shorter: Probe;
  readonly longer: Probe;
}

const step = 2;

/** Shapes at one length, with a batch of 1 if the graph requires it. */
export function probeAt(graph: Graph, length: number): Probe {
  try {
    return probe(graph, { batch: 3, length, distinct: false });
  } catch (error) {
    if (!(error instanceof ShapeConflict)) throw error;
    return probe(graph, { batch: 1, length, distinct: false });
  }
}

/**
 * Two lengths within the current limit at which the graph runs.
 *
 * @throws GraphError "positions-cannot-grow" if there are no two
 */
export function twoLengths(graph: Graph, isConstant: (value: string) => boolean): TwoLengths {
  let conflict: { error: ShapeConflict; length: number } | undefined;
  let only: number | undefined;
  for (const length of candidates) {
    let at = length;
    try {
      const shorter = probeAt(graph, at);
      only = length;
      at += step;
      return { shorter, longer: probeAt(graph, at) };
    } catch (error) {
      if (!(error instanceof ShapeConflict)) throw error;
      if (conflict === undefined || only === length) conflict = { error, length: at };
    }
  }
  throw lengthConflict(graph, isConstant, conflict!.error, conflict!.length);
}

interface FixedInput {
  readonly name: string;
  readonly dims: readonly (number | undefined)[];
  /** Number of tokens, if the input has any. */
  readonly length: number | undefined;
}

/** Inputs with a fixed length that keep the model from taking longer inputs. */
function fixedInputs(graph: Graph): FixedInput[] {
  const inputs = graph.inputs.map(readInput);
  // Next to inputs of free length, an input of another kind may be fixed: an image, a table of features.
  const bound = inputs.filter(({ length }) => length !== undefined);
  const anyFree = inputs.some(({ dims }) => dims.slice(1).includes(undefined));
  return anyFree ? bound : inputs.filter(({ dims }) => dims.length > 1);
}

function readInput({ name, type }: ValueInfoProto): FixedInput {
  const tensor = type?.tensorType;
  if (!tensor?.shape) {
    throw cannotGrow(
      `the input "${name}" declares no shape, so its length is unknown`,
      { input: name },
      "Export the model with the shapes of its inputs, and with names for dynamic axes.",
    );
  }
  const dims = tensor.shape.dim.map(({ dimValue }) => (dimValue?.gt(0) ? dimValue.toNumber() : undefined));
  const isTokens = [DataType.INT64, DataType.INT32, DataType.BOOL].some((tokens) => tokens === tensor.elemType);
  const length = isTokens && dims.length > 1 && (dims[1] ?? 1) > 1 ? dims[1] : undefined;
  return { name, dims, length };
}

/**
 * The number of tokens that a fixed-length export takes; undefined if the length is free.
 *
 * @throws GraphError "positions-cannot-grow" if that is less than `maxLength`
 */
export function fixedLength(
  graph: Graph,
  isConstant: (value: string) => boolean,
  maxLength: number,
): number | undefined {
  const fixed = fixedInputs(graph);
  if (fixed.length === 0) return undefined;
  const lengths = fixed.map(({ length }) => length);
  if (lengths.every((length) => length !== undefined && length >= maxLength)) return Math.min(...(lengths as number[]));
  const shapes = fixed.map(({ name, dims }) => `"${name}" [${dims.map((dim) => dim ?? "?").join(", ")}]`);
  const forms = graph.nodes.flatMap((node) => foldedForm(graph, isConstant, node) ?? []);
  const positions = forms.length === 0 ? "" : ` (and ${forms[0]})`;
  throw cannotGrow(
    `it was exported with inputs of fixed shape, ${shapes.join(", ")}${positions}`,
    { inputs: fixed.map(({ name }) => name), forms },
    "Export the model with dynamic axes for batch and sequence.",
  );
}

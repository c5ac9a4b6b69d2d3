import type { Graph } from "@favor/onnx/graph";
import type { Tensor } from "@favor/onnx/evaluate";
import { isFloat, isSupportedType } from "@favor/onnx/evaluate";
import { varies, type AttentionContext } from "../context.ts";
import type { KeyMask } from "../site.ts";

/** One evaluation of a mask: every value on the way to it, and which keys it keeps. */
export interface KeyMaskSample {
  readonly values: ReadonlyMap<string, Tensor>;
  /** keep[group, key]; groups are batch and heads folded, batch slowest. */
  readonly keep: Uint8Array;
  readonly groups: number;
  readonly keys: number;
  readonly batch: number;
}

type Rule = KeyMask["rule"];
const rules: readonly Rule[] = ["nonzero keeps", "zero keeps", "additive"];
/** Attention masks of exporters are at most this; -1e4 is the oldest. */
const additiveBound = -1e3;

/**
 * The value of the graph that holds, for each batch row and key, whether the key counts: found by comparing every
 * value on the way to the mask with what the mask kept, in all samples. The first in the graph's order wins, so that
 * the quadratic part of the mask behind it falls away.
 *
 * @param dropping samples that keep some keys and drop some, without which nothing is seen
 * @param keeping samples that keep all keys
 */
export function findKeyMask(
  context: AttentionContext,
  dropping: readonly KeyMaskSample[],
  keeping: readonly KeyMaskSample[] = [],
): KeyMask | undefined {
  if (dropping.length === 0) return undefined;
  const samples = [...dropping, ...keeping];
  const evaluated = new Set(
    [...samples[0]!.values.keys()].filter((value) => samples.every(({ values }) => values.has(value))),
  );
  let fractional: KeyMask | undefined;
  for (const value of visibleValues(context.graph, evaluated)) {
    const roles = keyRoles(context, value, samples[0]!);
    if (roles === undefined) continue;
    const fitting = rules.filter((candidate) => samples.every((sample) => explains(sample, value, candidate)));
    const [rule] = fitting;
    if (rule === undefined) continue;
    const found = { value, roles, rule, dataType: samples[0]!.values.get(value)!.dataType };
    if (!isFloat(found.dataType)) return found;
    // What is made of a float says better what becomes of its fractions: (1 - mask) * -1e4 hides a key at 0.5.
    const isMade = context.graph.owner(value)?.producer(value) !== undefined;
    if (isMade && fitting.includes("additive")) return { ...found, rule: "additive" };
    fractional ??= found;
  }
  return fractional;
}

/** Those of the values that are inputs of a graph or made in it or around it: outer ones first, inputs before the rest. */
function visibleValues(graph: Graph, values: ReadonlySet<string>): string[] {
  const inputs = graph.inputs.flatMap(({ name }) => (values.has(name) ? [name] : []));
  const made = graph.sorted(new Set([...values].flatMap((value) => graph.producer(value) ?? [])));
  const own = [...inputs, ...made.flatMap(({ output }) => output.filter((value) => values.has(value)))];
  return graph.outer === undefined ? own : [...visibleValues(graph.outer, values), ...own];
}

/** Roles of axes of a value of size [batch, keys] with ones anywhere; undefined for any other size. */
function keyRoles(context: AttentionContext, value: string, sample: KeyMaskSample): KeyMask["roles"] | undefined {
  const { dims, dataType } = sample.values.get(value)!;
  if (!isSupportedType(dataType) || dims.length > 4 || dims.length === 0) return undefined;
  const roles: ("batch" | "length" | "one")[] = dims.map(() => "one");
  const last = dims.findLastIndex((dim) => dim === sample.keys);
  if (last < 0) return undefined;
  roles[last] = "length";
  const others = dims.flatMap((dim, axis) => (axis !== last && dim !== 1 ? [axis] : []));
  if (others.length > 1) return undefined;
  const batchAxis = others[0] ?? (last > 0 && (varies(context, value, 0) || isFirst(dims, last)) ? 0 : undefined);
  if (batchAxis !== undefined) {
    if (dims[batchAxis] !== sample.batch || batchAxis > last) return undefined;
    roles[batchAxis] = "batch";
  }
  return roles;
}

/** [1, keys] and [1, 1, keys] are a batch of one; a lone [keys] has no batch. */
const isFirst = (dims: readonly number[], last: number): boolean => dims.length > 1 && last > 0;

/** Whether a value says of every row what the mask kept. A row whose keys are all hidden may fall back to all of them. */
function explains(sample: KeyMaskSample, value: string, rule: Rule): boolean {
  const { data, dims } = sample.values.get(value)!;
  const { keys, groups } = sample;
  const batch = data.length / keys;
  const heads = groups / sample.batch;
  for (let g = 0; g < groups; g++) {
    const row = batch === 1 ? 0 : Math.floor(g / heads);
    const entries = data.subarray(row * keys, (row + 1) * keys);
    const keep = sample.keep.subarray(g * keys, (g + 1) * keys);
    if (!keep.every((kept, k) => agrees(entries[k]!, kept === 1, rule)) && !fallsBack(entries, keep, rule))
      return false;
  }
  return dims.length > 0;
}

const fallsBack = (entries: Tensor["data"], keep: Uint8Array, rule: Rule): boolean =>
  !keep.includes(0) && entries.every((entry: number) => agrees(entry, false, rule));

function agrees(entry: number, keep: boolean, rule: Rule): boolean {
  if (rule === "nonzero keeps") return (entry !== 0) === keep;
  if (rule === "zero keeps") return (entry === 0) === keep;
  return keep ? entry === 0 : entry <= additiveBound;
}

import type { GraphProto, NodeProto } from "@favor/onnx";
import { elementCount } from "@favor/onnx/evaluate";
import { stringAttribute } from "@favor/onnx/graph";
import { outputDims, sizesOf, whole, type RowRule } from "./row-call.ts";
import { isPlain } from "./rows.ts";

/**
 * ScatterND that overwrites every position of a value in order: `mask[:, :, :, :length] = other`, as PyTorch's exporter
 * writes it. The output is the updates.
 */
export const overwritten: RowRule = (call) => {
  const { node, rows } = call;
  const [data = "", indices = "", updates = ""] = node.input;
  const out = outputDims(call);
  const [from, places, at] = [call.dims(data), call.dims(updates), call.numbers(indices)];
  if (out === undefined || from === undefined || places === undefined || at === undefined) return undefined;
  const isWhole = out.every((dims, probe) => dims.join() === places[probe]!.join() && isGrid(at[probe]!, dims));
  if (!isWhole || (stringAttribute(node, "reduction") ?? "none") !== "none") return undefined;
  return { values: [updates], inputs: [rows], as: "copy" };
};

/** Whether numbers are every position of a tensor, in order: [0, 0], [0, 1], ... for dimensions [rows, columns]. */
function isGrid(numbers: readonly number[], dims: readonly number[]): boolean {
  if (numbers.length !== elementCount(dims) * dims.length) return false;
  return numbers.every((number, i) => {
    const axis = i % dims.length;
    const behind = elementCount(dims.slice(axis + 1));
    return number === Math.floor(Math.floor(i / dims.length) / behind) % dims[axis]!;
  });
}

/**
 * If, where the probes take one branch at every size, and it gives a value from outside. That value's rows are followed. Other
 * inputs may take the other branch, so it is not dropped.
 */
export const branched: RowRule = (call) => {
  const { node, rows } = call;
  const [condition = ""] = node.input;
  const taken = call.numbers(condition)?.map(([first]) => first !== 0);
  if (taken === undefined || taken.some((one) => one !== taken[0]) || !isPlain(rows)) return undefined;
  const [branch, other] = (taken[0] ? names : names.toReversed()) as [Branch, Branch];
  const value = passedThrough(node, branch);
  const [own, out] = [value === undefined ? undefined : call.dims(value), outputDims(call)];
  const left = branchOutput(node, other);
  const beside = left && call.dims(left.value, left.graph);
  if (own === undefined || out === undefined || beside === undefined) return undefined;
  const rank = out[0]!.length;
  const isSame = own[0]!.length === rank && sizesOf(own, rows.axis).join() === sizesOf(out, rows.axis).join();
  // With fewer axes, numpy's rules align the last ones.
  const missing = rank - beside[0]!.length;
  if (!isSame || missing < 0 || missing > rows.axis) return undefined;
  return { values: [condition, value!], inputs: [whole, rows], as: branch };
};

type Branch = "then_branch" | "else_branch";
const names: readonly Branch[] = ["then_branch", "else_branch"];

/** What a branch of an If with one output gives. */
export function branchOutput(
  { attribute, output }: NodeProto,
  branch: Branch,
): { readonly graph: GraphProto; readonly value: string } | undefined {
  const graph = attribute.find(({ name }) => name === branch)?.g;
  return graph && output.length === 1 ? { graph, value: graph.output[0]!.name } : undefined;
}

/** The value from outside that a branch gives as it is. */
function passedThrough(node: NodeProto, branch: Branch): string | undefined {
  const found = branchOutput(node, branch);
  if (found === undefined) return undefined;
  const { graph } = found;
  const made = new Map(graph.node.flatMap((inner) => inner.output.map((name) => [name, inner] as const)));
  let { value } = found;
  for (let inner = made.get(value); inner !== undefined; inner = made.get(value)) {
    if (inner.opType !== "Identity") return undefined;
    value = inner.input[0]!;
  }
  return graph.initializer.some(({ name }) => name === value) ? undefined : value;
}

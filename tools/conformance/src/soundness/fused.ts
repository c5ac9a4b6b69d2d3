import { createMessage, DataType, type NodeProto } from "@favor/onnx";
import { attributeOf, type Attributes, type Bench } from "./bench.ts";

const fused = new Set([
  "Attention",
  "MultiHeadAttention",
  "GroupQueryAttention",
  "QAttention",
  "DecoderMaskedMultiHeadAttention",
]);

const fusedNodes = (bench: Bench): NodeProto[] => bench.graph.node.filter(({ opType }) => fused.has(opType));

/** Attributes by which onnxruntime's and ONNX's attention differ from softmax(QK/sqrt(d))V. */
const settings: readonly Attributes[] = [
  { scale: { float: 0.9 } },
  { scale: { float: -0.5 } },
  { unidirectional: 1 },
  { is_causal: 1 },
  { is_causal: 0 },
  { softcap: { float: 1.5 } },
  { mask_filter_value: { float: -1 } },
  { mask_filter_value: { float: -30 } },
  { local_window_size: 3 },
  { smooth_softmax: 1 },
  { qk_matmul_output_mode: 1 },
  { softmax_precision: 10 },
  { do_rotary: 1 },
  { num_heads: 1 },
  { num_heads: 4 },
  { q_num_heads: 1, kv_num_heads: 1 },
];

/** Changes an operator that holds a whole attention; false if there is none. */
export interface FusedMutation {
  readonly name: string;
  readonly apply: (bench: Bench) => boolean;
}

function onNode(name: string, change: (bench: Bench, node: NodeProto) => boolean): FusedMutation {
  return {
    name: `fused: ${name}`,
    apply: (bench) => {
      const node = bench.choices.of(fusedNodes(bench));
      return node !== undefined && change(bench, node);
    },
  };
}

/** Changes of operators that are attention as a whole. */
export const fusedMutations: readonly FusedMutation[] = [
  ...settings.map((setting) =>
    onNode(Object.keys(setting).join(" "), (_, node) => {
      const made = Object.entries(setting).map(([name, value]) => attributeOf(name, value));
      node.attribute = [...node.attribute.filter(({ name }) => !(name in setting)), ...made];
      return true;
    }),
  ),
  onNode("an input for another", (bench, node) => {
    const at = bench.choices.below(node.input.length);
    const shape = bench.shape(node.input[at]!);
    const alike = bench.values.filter((value) => {
      const other = bench.shape(value)!;
      return other.dataType === shape?.dataType && other.dims.join() === shape.dims.join() && value !== node.input[at];
    });
    const value = bench.choices.of(alike);
    if (value === undefined) return false;
    node.input[at] = value;
    return true;
  }),
  onNode("two inputs exchanged", (bench, node) => {
    const [a, b] = [bench.choices.below(node.input.length), bench.choices.below(node.input.length)];
    if (bench.dims(node.input[a]!).join() !== bench.dims(node.input[b]!).join()) return false;
    [node.input[a], node.input[b]] = [node.input[b]!, node.input[a]!];
    return a !== b;
  }),
  onNode("without an input", (bench, node) => {
    // onnxruntime reads inputs that it must have without looking.
    const at = 3 + bench.choices.below(node.input.length - 3);
    if ((node.input[at] ?? "") === "") return false;
    node.input[at] = "";
    return true;
  }),
  onNode("a bias of every pair", (bench, node) => {
    const length = bench
      .dims(node.input[0]!)
      .at(node.input.length > 2 && bench.dims(node.input[0]!).length === 4 ? -2 : 1);
    if (length === undefined || length > 64) return false;
    const values = Array.from({ length: length * length }, () => bench.choices.below(5) - 2);
    const bias = bench.constant(DataType.FLOAT, [1, 1, length, length], values);
    const at = node.domain !== "com.microsoft" ? 3 : 5;
    while (node.input.length <= at) node.input.push("");
    node.input[at] = bias;
    return true;
  }),
  onNode("its probabilities as an output", (bench, node) => {
    if (node.domain === "com.microsoft" || node.output.length > 3) return false;
    while (node.output.length < 3) node.output.push("");
    node.output.push("mutated_probabilities");
    bench.graph.output.push(createMessage("ValueInfoProto", { name: "mutated_probabilities" }));
    return true;
  }),
];

import Long from "long";
import {
  createMessage,
  modelGraphs,
  modelTensors,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
} from "@favor/onnx";
import type { Choices } from "./random.ts";

/** Sizes, axes and versions at which arithmetic goes wrong. */
const notableIntegers = [
  -9007199254740992, -2147483648, -65537, -2, -1, 0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 17, 24, 64, 255, 4096, 65536,
  1_000_000, 2147483647, 2147483648, 4294967296, 9007199254740991, 9007199254740992,
];
const notableFloats = [0, -0, 1, -1, 1e-45, 3.4e38, NaN, Infinity, -Infinity, 0.125];
const operators =
  "Identity MatMul Softmax Add Mul Div Sub Transpose Reshape Concat Split Slice Gather Shape Expand Where Cast Einsum Gemm Unsqueeze Squeeze Range ConstantOfShape Tile Pad Loop If Scan Exp ReduceMax ReduceSum LogSoftmax Attention MultiHeadAttention RotaryEmbedding CumSum Trilu TopK NonZero OneHot ScatterND GatherND Resize Conv".split(
    " ",
  );

interface Place {
  readonly model: ModelProto;
  readonly graph: GraphProto;
  readonly choices: Choices;
}

/** Changes the wiring, shapes, attributes and weights of a model in place, one to six times. */
export function mutateModel(model: ModelProto, choices: Choices): void {
  for (let left = 1 + choices.below(6); left > 0; left--) {
    const graph = choices.of(modelGraphs(model))!;
    choices.of(mutations)!({ model, graph, choices });
  }
  // Values that nobody makes, or two nodes, are refused at once: most models are to be looked at further.
  if (choices.chance(0.7)) repairWiring(model.graph, choices);
}

/** Gives the nodes of a graph outputs of their own, and inputs that exist. */
function repairWiring(graph: GraphProto, choices: Choices): void {
  const made = new Set([...graph.input, ...graph.initializer].map(({ name }) => name));
  for (const node of graph.node) {
    node.input = node.input.map((name) =>
      name === "" || made.has(name) ? name : (choices.of([...made].slice(-20)) ?? ""),
    );
    node.output = node.output.map((name) => (made.has(name) ? `${name}_${made.size}` : name));
    for (const name of node.output) if (name !== "") made.add(name);
  }
  graph.output = graph.output.filter(({ name }) => made.has(name));
}

const integer = (choices: Choices): Long =>
  Long.fromNumber(choices.chance(0.1) ? choices.below(2 ** 32) : choices.of(notableIntegers)!);

/** Every value that a graph names. */
function values(graph: GraphProto): string[] {
  const names = [...graph.input, ...graph.output, ...graph.initializer].map(({ name }) => name);
  return [...names, ...graph.node.flatMap((node) => node.output)].filter((name) => name !== "");
}

const mutations: readonly ((place: Place) => void)[] = [
  swapNodes,
  deleteNode,
  duplicateNode,
  rewire,
  rewire,
  rename,
  changeOperator,
  changeAttribute,
  changeAttribute,
  removeAttribute,
  changeSurface,
  changeTensorShape,
  changeTensorValues,
  dropInitializer,
  dropValueInfo,
  addOutput,
  changeVersion,
  changeDomain,
  wrapInBody,
  wrapInFunction,
];

function swapNodes({ graph: { node }, choices }: Place): void {
  const [a, b] = [choices.below(node.length), choices.below(node.length)];
  if (node.length > 0) [node[a], node[b]] = [node[b]!, node[a]!];
}

function deleteNode({ graph: { node }, choices }: Place): void {
  node.splice(choices.below(node.length), 1);
}

function duplicateNode({ graph, choices }: Place): void {
  const node = choices.of(graph.node);
  if (node === undefined) return;
  const output = choices.chance(0.5) ? node.output : node.output.map((name) => `${name}_again`);
  graph.node.splice(choices.below(graph.node.length), 0, { ...node, input: [...node.input], output: [...output] });
}

function rewire({ graph, choices }: Place): void {
  const node = choices.of(graph.node);
  if (node === undefined) return;
  const at = choices.below(node.input.length + 1);
  if (choices.chance(0.15)) node.input.splice(at, 1);
  else node.input[at] = choices.chance(0.1) ? "" : choices.of(values(graph))!;
}

function rename({ graph, choices }: Place): void {
  const node = choices.of(graph.node);
  if (node === undefined || node.output.length === 0) return;
  const names = choices.chance(0.3) ? ["__proto__", "constructor", "", "x", "\ufffd"] : values(graph);
  node.output[choices.below(node.output.length)] = choices.of(names) ?? "";
}

function changeOperator({ graph, choices }: Place): void {
  const node = choices.of(graph.node);
  if (node === undefined) return;
  node.opType = choices.chance(0.5) ? choices.of(operators)! : choices.of(graph.node)!.opType;
}

function changeAttribute({ graph, choices }: Place): void {
  const attr = choices.of(graph.node.flatMap((node) => node.attribute));
  if (attr === undefined) return;
  if (attr.ints.length > 0 && choices.chance(0.7)) attr.ints[choices.below(attr.ints.length)] = integer(choices);
  else if (choices.chance(0.2)) attr.ints = Array.from({ length: choices.below(6) }, () => integer(choices));
  else if (choices.chance(0.6)) attr.i = integer(choices);
  else if (choices.chance(0.5)) attr.f = choices.of(notableFloats)!;
  else attr.s = new TextEncoder().encode(choices.of(["", "abc,bcd->abd", "...a,...b->...", "i,i,i->", "SAME_UPPER"])!);
}

function removeAttribute({ graph, choices }: Place): void {
  const node = choices.of(graph.node.filter(({ attribute }) => attribute.length > 0));
  node?.attribute.splice(choices.below(node.attribute.length), 1);
}

function changeSurface({ graph, choices }: Place): void {
  const info = choices.of([...graph.input, ...graph.output, ...graph.valueInfo]);
  const type = info?.type?.tensorType;
  if (!type) return;
  const dims = type.shape?.dim;
  const chosen = choices.below(5);
  if (chosen === 0) type.elemType = choices.below(25);
  else if (chosen === 1) type.shape = null;
  else if (!dims || dims.length === 0) return;
  else if (chosen === 2) dims.splice(choices.below(dims.length), 1);
  else if (chosen === 3) dims.push(dims[0]!);
  else dims[choices.below(dims.length)] = createMessage("DimensionProto", { dimValue: integer(choices) });
}

function changeTensorShape({ model, choices }: Place): void {
  const tensor = choices.of(modelTensors(model));
  if (tensor === undefined) return;
  // Sizes exchanged or merged still fit the data; any other does not.
  if (choices.chance(0.4)) tensor.dims.reverse();
  else if (choices.chance(0.5)) tensor.dims.splice(choices.below(tensor.dims.length + 1), 0, Long.ONE);
  else if (tensor.dims.length > 0) tensor.dims[choices.below(tensor.dims.length)] = integer(choices);
}

function changeTensorValues({ model, choices }: Place): void {
  const small = modelTensors(model).filter((tensor) => tensor.rawData.length > 0 || tensor.int64Data.length > 0);
  const tensor = choices.of(small);
  if (tensor === undefined) return;
  if (tensor.int64Data.length > 0) tensor.int64Data[choices.below(tensor.int64Data.length)] = integer(choices);
  else if (tensor.dataType === 7 && tensor.rawData.length >= 8) {
    const at = 8 * choices.below(Math.floor(tensor.rawData.length / 8));
    const raw = tensor.rawData.slice();
    raw.set(integer(choices).toBytesLE(), at);
    tensor.rawData = raw;
  } else {
    const raw = tensor.rawData.slice();
    raw[choices.below(raw.length)]! ^= 1 << choices.below(8);
    tensor.rawData = raw;
  }
}

function dropInitializer({ graph: { initializer }, choices }: Place): void {
  initializer.splice(choices.below(initializer.length), 1);
}

function dropValueInfo({ graph, choices }: Place): void {
  const list = choices.of([graph.input, graph.output, graph.valueInfo])!;
  list.splice(choices.below(list.length), 1);
}

function addOutput({ graph, choices }: Place): void {
  const name = choices.of(values(graph));
  if (name !== undefined) graph.output.push(createMessage("ValueInfoProto", { name }));
}

function changeVersion({ model, choices }: Place): void {
  const opset = choices.of(model.opsetImport);
  if (opset !== undefined) opset.version = integer(choices);
}

function changeDomain({ graph, choices }: Place): void {
  const node = choices.of(graph.node);
  if (node !== undefined) node.domain = choices.of(["", "ai.onnx", "com.microsoft", "x", "__proto__"])!;
}

const graphAttribute = (name: string, g: GraphProto): AttributeProto =>
  createMessage("AttributeProto", { name, type: 5, g });

/** A run of nodes goes into the body of an If, Loop or Scan that makes the values that the last of them made. */
function wrapInBody({ graph, choices }: Place): void {
  const nodes = takeNodes(graph, choices);
  const last = nodes.at(-1);
  if (last === undefined) return;
  const opType = choices.of(["If", "Loop", "Scan"])!;
  const infos = last.output.map((name) => createMessage("ValueInfoProto", { name: `${name}_inner` }));
  last.output = infos.map(({ name }) => name);
  const body = createMessage("GraphProto", { name: "body", node: nodes, output: infos });
  const attribute =
    opType === "If"
      ? [graphAttribute("then_branch", body), graphAttribute("else_branch", body)]
      : [
          graphAttribute("body", body),
          createMessage("AttributeProto", { name: "num_scan_inputs", type: 2, i: Long.ONE }),
        ];
  const input = Array.from({ length: 1 + choices.below(4) }, () => choices.of(values(graph)) ?? "");
  const output = infos.map(({ name }) => name.slice(0, -"_inner".length));
  const wrapped = createMessage("NodeProto", { opType, name: "wrapped", input, output, attribute });
  graph.node.splice(choices.below(graph.node.length + 1), 0, wrapped);
}

/** A run of nodes becomes a local function, which is called in their place, and sometimes calls itself. */
function wrapInFunction({ model, graph, choices }: Place): void {
  const nodes = takeNodes(graph, choices);
  const name = `fn${choices.below(3)}`;
  const made = new Set(nodes.flatMap((node) => node.output));
  const input = [...new Set(nodes.flatMap((node) => node.input))].filter((value) => !made.has(value));
  const output = [...made].filter((value) => value !== "");
  const call = (): NodeProto => createMessage("NodeProto", { opType: name, domain: "fuzz", input, output });
  const body = choices.chance(0.05) ? [...nodes, call()] : nodes;
  const { opsetImport } = model;
  model.functions.push(
    createMessage("FunctionProto", { name, domain: "fuzz", input, output, node: body, opsetImport }),
  );
  graph.node.push(call());
}

function takeNodes(graph: GraphProto, choices: Choices): NodeProto[] {
  return graph.node.splice(choices.below(graph.node.length), 1 + choices.below(12));
}

import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { AttributeType, createMessage, DataType, makeTensor, tensorValues } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { openModel, writeModel } from "@favor/onnx/node";

import { tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

/** A copy of the tiny checkpoint, its model's bytes edited. */
export async function withBytes(edit: (bytes: Buffer) => Buffer): Promise<string> {
  const folder = join(await temporaryFolder(), "checkpoint");
  await cp(tiny, folder, { recursive: true });
  const path = join(folder, "onnx", "model.onnx");
  await writeFile(path, edit(await readFile(path)));
  return folder;
}

/** A copy of the tiny checkpoint, its model edited. */
export async function withModel(edit: (model: ModelProto) => void): Promise<string> {
  const folder = join(await temporaryFolder(), "checkpoint");
  await cp(tiny, folder, { recursive: true });
  const opened = await openModel(join(tiny, "onnx", "model.onnx"));
  edit(opened.model);
  await writeModel(opened.model, join(folder, "onnx", "model.onnx"));
  opened.close();
  return folder;
}

/** Makes one element of a query projection's weight NaN. */
export function poison(model: ModelProto): void {
  const { initializer } = model.graph!;
  const at = initializer.findIndex(
    (tensor) => tensor.dims.length === 2 && tensor.dims.every((dim) => dim.toNumber() === 128),
  );
  const { dims, data, dataType } = tensorValues(initializer[at]!);
  const values = Float32Array.from(data as Float32Array);
  values[5000] = Number.NaN;
  initializer[at] = makeTensor(initializer[at]!.name, dims, dataType, values);
}

/** Makes the attention probabilities of every layer outputs of the model, as `output_attentions` does. */
export function exposeProbabilities(model: ModelProto): void {
  const graph = model.graph!;
  for (const node of graph.node.filter((each) => each.opType === "Softmax")) {
    const type = createMessage("TypeProto", {
      tensorType: createMessage("TensorTypeProto", { elemType: DataType.FLOAT }),
    });
    graph.output.push(createMessage("ValueInfoProto", { name: node.output[0]!, type }));
  }
}

/** Leaves of the model what comes before its first attention: an embedding. */
export function withoutAttention(model: ModelProto): void {
  const graph = model.graph!;
  const gather = graph.node.find((node) => node.opType === "Gather" && node.input[1] === "input_ids")!;
  graph.node = [gather];
  graph.initializer = graph.initializer.filter((tensor) => gather.input.includes(tensor.name));
  graph.output[0]!.name = gather.output[0]!;
  graph.input = graph.input.filter((input) => input.name === "input_ids");
}

/** Takes the language-model head away: the output is then the hidden state that the last matrix product reads. */
export function withoutHead(model: ModelProto): void {
  const graph = model.graph!;
  const head = graph.node.findLast((node) => node.opType === "MatMul")!;
  graph.node = graph.node.slice(0, graph.node.indexOf(head));
  const type = createMessage("TypeProto", {
    tensorType: createMessage("TensorTypeProto", { elemType: DataType.FLOAT }),
  });
  graph.output = [createMessage("ValueInfoProto", { name: head.input[0]!, type })];
}

/** Moves everything into both branches of an If. */
export function intoBranches(model: ModelProto): void {
  const graph = model.graph!;
  const [result] = graph.output;
  const branch = (): typeof graph =>
    createMessage("GraphProto", { name: "branch", node: graph.node, output: [result!] });
  const condition = makeTensor("always", [], DataType.BOOL, Uint8Array.of(1));
  const attribute = ["then_branch", "else_branch"].map((name) =>
    createMessage("AttributeProto", { name, type: AttributeType.GRAPH, g: branch() }),
  );
  const output = createMessage("ValueInfoProto", { ...result!, name: "chosen" });
  graph.initializer.push(condition);
  graph.node = [createMessage("NodeProto", { opType: "If", input: ["always"], output: ["chosen"], attribute })];
  graph.output = [output];
  graph.valueInfo = [];
}

import type { FavorFile } from "../record/favor-file.ts";

const open = "```js";
const close = "```";

/** The lines that load onnxruntime without its telemetry, which is on by default from 1.30 on. */
function loading(names: string): string[] {
  return [
    'process.env.ORT_DISABLE_TELEMETRY = "1"; // before onnxruntime is loaded: it sends usage data otherwise',
    `const { ${names} } = await import("onnxruntime-node");`,
  ];
}

/** How a model card says that onnxruntime loads the model, `custom` with its own LinearAttention. */
export function onnxruntimeUse({ model }: FavorFile, custom: boolean): string[] {
  const lines = [
    open,
    ...loading("InferenceSession"),
    "",
    `const session = await InferenceSession.create("${model.file}");`,
    close,
  ];
  return custom ? [...lines, "", customOperator] : lines;
}

const customOperator =
  "Causal attention is the operator `com.microsoft.LinearAttention`: onnxruntime 1.30 has it, other runtimes do not.";

/** How a model card says that a model of opset 27 is run. */
export function opset27Use(file: FavorFile): string[] {
  const { model, options } = file;
  return [
    "The model is of ONNX opset 27, for its `LinearAttention`. onnxruntime 1.30 does not load that opset yet; `@favor/onnx-tfjs`",
    "runs it:",
    "",
    open,
    'import { readFile } from "node:fs/promises";',
    'import { OnnxModel } from "@favor/onnx-tfjs";',
    'import * as tf from "@tensorflow/tfjs";',
    "",
    'await tf.setBackend("cpu"); // or webgpu, wasm',
    `const model = await OnnxModel.load(await readFile("${model.file}"));`,
    close,
    ...(options.stateful === true ? ["", ...states(file)] : []),
  ];
}

/** How a model card says that a model with a state is fed. */
export function statefulUse(file: FavorFile): string[] {
  return [
    "The model is fed token by token or in pieces: each call takes the state that the call before gave.",
    "",
    open,
    ...loading("InferenceSession, Tensor"),
    "",
    `const session = await InferenceSession.create("${file.model.file}");`,
    "const state = {};",
    "for (const { name, shape } of session.inputMetadata) {",
    '  if (name === "favor_past_length") state[name] = new Tensor("int64", [0n], []);',
    '  if (!name.startsWith("favor_past.")) continue;',
    "  const dims = [1, ...shape.slice(1)]; // one sequence",
    '  const first = name.endsWith(".log_scale") ? -1e30 : 0;',
    "  const size = dims.reduce((product, dim) => product * dim);",
    '  state[name] = new Tensor("float32", new Float32Array(size).fill(first), dims);',
    "}",
    "",
    "/** Feeds the next tokens: inputs as the original takes them, [1, length]. */",
    "async function next(inputs, length) {",
    "  const outputs = await session.run({ ...inputs, ...state });",
    "  for (const name of Object.keys(state)) {",
    '    if (name.startsWith("favor_past.")) state[name] = outputs[name.replace("past", "present")];',
    '    else state[name] = new Tensor("int64", [state[name].data[0] + BigInt(length)], []);',
    "  }",
    "  return outputs;",
    "}",
    close,
    "",
    ...states(file),
    ...(file.options.target === "onnxruntime" ? ["", customOperator] : []),
  ];
}

/** Names and first values of the state. */
function states({ sites }: FavorFile): string[] {
  const numbers = sites.filter(({ state }) => state === "converted").map(({ site }) => site);
  return [
    "| input | output | size | before the first token |",
    "| --- | --- | --- | --- |",
    "| `favor_past.N.sums` | `favor_present.N.sums` | batch, heads, features, values + 1 | 0 |",
    "| `favor_past.N.log_scale` | `favor_present.N.log_scale` | batch, heads, 1, 1 | -1e30 |",
    "| `favor_past_length`, where there is one | | a number (int64) | 0, then the tokens fed before |",
    "",
    `N, the attention: ${numbers.join(", ")}.`,
  ];
}

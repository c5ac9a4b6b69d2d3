import type { FavorFile } from "../record/favor-file.ts";

const open = "```js";
const close = "```";

/** The lines that load onnxruntime without its telemetry, which is on by default since 1.30. */
function loading(names: string): string[] {
  return [
    'process.env.ORT_DISABLE_TELEMETRY = "1"; // before loading onnxruntime, which otherwise sends usage data',
    `const { ${names} } = await import("onnxruntime-node");`,
  ];
}

/** Shows how to load the model in onnxruntime. @param custom - whether it uses onnxruntime's own LinearAttention. */
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
  "Causal attention uses the operator `com.microsoft.LinearAttention`, which onnxruntime 1.30 has and other runtimes lack.";

/** Shows how to run a model of opset 27. */
export function opset27Use(file: FavorFile): string[] {
  const { model, options } = file;
  return [
    "The model uses ONNX opset 27 for its `LinearAttention` operator. onnxruntime 1.30 does not load that opset yet, but",
    "`@favor/onnx-tfjs` runs it:",
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

/** Shows how to feed a stateful model. */
export function statefulUse(file: FavorFile): string[] {
  return [
    "Feed the model token by token or in pieces. Each call takes the state that the previous call returned.",
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
    "/** Feeds the next tokens. The inputs are those of the original, [1, length]. */",
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

/** Lists the names and initial values of the state. */
function states({ sites }: FavorFile): string[] {
  const numbers = sites.filter(({ state }) => state === "converted").map(({ site }) => site);
  return [
    "| input | output | size | before the first token |",
    "| --- | --- | --- | --- |",
    "| `favor_past.N.sums` | `favor_present.N.sums` | batch, heads, features, values + 1 | 0 |",
    "| `favor_past.N.log_scale` | `favor_present.N.log_scale` | batch, heads, 1, 1 | -1e30 |",
    "| `favor_past_length`, if present | | a scalar (int64) | 0, then the number of tokens fed so far |",
    "",
    `N is the number of the attention: ${numbers.join(", ")}.`,
  ];
}

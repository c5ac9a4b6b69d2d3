import type { CardFacts } from "../record/card-facts.ts";
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

/** Inputs whose values are known from the ids alone: in JavaScript and in Python. */
const roles: ReadonlyMap<string, readonly [js: string, python: string]> = new Map([
  ["input_ids", ["ids", "ids"]],
  ["attention_mask", ["ids.map(() => 1)", "[1] * len(ids)"]],
  ["token_type_ids", ["ids.map(() => 0)", "[0] * len(ids)"]],
  ["position_ids", ["ids.map((_, i) => i)", "list(range(len(ids)))"]],
]);

/** The inputs if a text is all that is needed to fill them. */
function tokenInputs(card: CardFacts | undefined): CardFacts["inputs"] {
  const inputs = card?.inputs ?? [];
  const areKnown = inputs.every(({ name, type }) => roles.has(name) && (type === "INT64" || type === "INT32"));
  return areKnown && inputs.some(({ name }) => name === "input_ids") ? inputs : [];
}

/** Ids for models whose tokenizer is not at hand. */
const someIds = "[1, 2, 3, 4]";

/** Whether the example may name the most likely token at the mask. */
function fillsMasks(card: CardFacts): card is CardFacts & { readonly example: { readonly mask: string } } {
  return card.pipeline === "fill-mask" && card.example?.mask !== undefined && card.outputs.includes("logits");
}

const installNode =
  "`npm install onnxruntime-node @huggingface/tokenizers`. (On Linux x64, the install script of onnxruntime-node downloads " +
  "CUDA libraries of hundreds of megabytes. With `ONNXRUNTIME_NODE_INSTALL=skip` before the command, it does not.)";

/** Shows how to run the model in onnxruntime for Node. @param custom - whether it uses onnxruntime's own LinearAttention. */
export function onnxruntimeUse({ model, card }: FavorFile, custom: boolean): string[] {
  const inputs = tokenInputs(card);
  const after = custom ? ["", customOperator] : [];
  const create = `const session = await InferenceSession.create("${model.file}");`;
  if (card === undefined || inputs.length === 0) {
    return [
      "### In Node",
      "",
      installNode,
      "",
      open,
      ...loading("InferenceSession"),
      "",
      create,
      "console.log(session.inputMetadata);",
      close,
      ...after,
    ];
  }
  const { example } = card;
  const arrays = new Set(inputs.map(({ type }) => type));
  return [
    "### In Node",
    "",
    installNode,
    "",
    open,
    ...(example === undefined
      ? []
      : ['import { readFile } from "node:fs/promises";', 'import { Tokenizer } from "@huggingface/tokenizers";', ""]),
    ...loading("InferenceSession, Tensor"),
    "",
    ...(example === undefined
      ? [`const ids = ${someIds}; // of your tokenizer`]
      : [
          'const json = async (name) => JSON.parse(await readFile(name, "utf8").catch(() => "{}"));',
          'const tokenizer = new Tokenizer(await json("tokenizer.json"), await json("tokenizer_config.json"));',
          `const { ids } = tokenizer.encode(${JSON.stringify(example.text)});`,
        ]),
    ...(arrays.has("INT64")
      ? ['const int64 = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);']
      : []),
    ...(arrays.has("INT32")
      ? ['const int32 = (values) => new Tensor("int32", Int32Array.from(values), [1, ids.length]);']
      : []),
    create,
    "const outputs = await session.run({",
    ...inputs.map(({ name, type }) => `  ${name}: ${type.toLowerCase()}(${roles.get(name)![0]}),`),
    "});",
    ...(fillsMasks(card)
      ? [
          "const [, length, size] = outputs.logits.dims;",
          `const at = ids.indexOf(tokenizer.token_to_id(${JSON.stringify(card.example.mask)}));`,
          "const scores = outputs.logits.data.slice(at * size, (at + 1) * size);",
          "console.log(tokenizer.id_to_token(scores.indexOf(Math.max(...scores))), `at ${at} of ${length}`);",
        ]
      : ["for (const [name, { dims }] of Object.entries(outputs)) console.log(name, dims);"]),
    close,
    ...after,
  ];
}

/** Shows how to run the model in onnxruntime for Python. */
export function pythonUse({ model, card }: FavorFile): string[] {
  const inputs = tokenInputs(card);
  if (card === undefined || inputs.length === 0) return [];
  const { example } = card;
  const head = ["### In Python", "", "`pip install onnxruntime tokenizers`", "", "```python", "import os", ""];
  return [
    ...head,
    'os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before loading onnxruntime, which otherwise sends usage data',
    "import numpy as np",
    "import onnxruntime",
    ...(example === undefined
      ? ["", `ids = ${someIds}  # of your tokenizer`]
      : [
          "from tokenizers import Tokenizer",
          "",
          'tokenizer = Tokenizer.from_file("tokenizer.json")',
          `ids = tokenizer.encode(${JSON.stringify(example.text)}).ids`,
        ]),
    `session = onnxruntime.InferenceSession("${model.file}", providers=["CPUExecutionProvider"])`,
    "feeds = {",
    ...inputs.map(
      ({ name, type }) => `    "${name}": np.array([${roles.get(name)![1]}], dtype=np.${type.toLowerCase()}),`,
    ),
    "}",
    "outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))",
    ...(fillsMasks(card)
      ? [
          `at = ids.index(tokenizer.token_to_id(${JSON.stringify(card.example.mask)}))`,
          'print(tokenizer.id_to_token(int(outputs["logits"][0, at].argmax())), f"at {at} of {len(ids)}")',
        ]
      : ["for name, values in outputs.items():", "    print(name, values.shape)"]),
    close,
  ];
}

/** Shows how to run the model in transformers.js. */
export function transformersJsUse({ card }: FavorFile): string[] {
  const { pipeline, example } = card!;
  const task = pipeline === "sentence-similarity" ? "feature-extraction" : pipeline;
  const embeds = task === "feature-extraction";
  return [
    "### In transformers.js",
    "",
    'In Node or a browser, with `npm install @huggingface/transformers`. `dtype: "fp32"` names `onnx/model.onnx`.',
    "",
    open,
    'globalThis.process?.env && (process.env.ORT_DISABLE_TELEMETRY = "1"); // before loading onnxruntime',
    'const { env, pipeline } = await import("@huggingface/transformers");',
    "",
    'env.localModelPath = "./"; // with "." below, this folder; for a model of the Hub, give its id alone',
    `const model = await pipeline("${task}", ".", { dtype: "fp32" });`,
    `const outputs = await model(${JSON.stringify(example!.text)}${embeds ? ', { pooling: "mean" }' : ""});`,
    `console.log(outputs${embeds ? ".dims" : ""});`,
    close,
  ];
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
  const numbers = sites.filter(({ state }) => state === "linear").map(({ site }) => site);
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

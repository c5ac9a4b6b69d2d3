import { describe, expect, it } from "vitest";
import { DataType, memoryRange } from "@favor/onnx";
import { buildModel } from "../../src/builders/build-model.ts";
import type { BuildOptions } from "../../src/builders/build-model.ts";
import type { CheckpointTensor, StateDict } from "../../src/formats/state-dict.ts";
import { failure } from "../formats/failure.ts";
import {
  largestDifference,
  openInRuntime,
  readConfiguration,
  readSample,
  readWeights,
  runSample,
  valuesOf,
} from "./checkpoints.ts";

type Edit = (weights: Map<string, CheckpointTensor>) => void;

function edited(name: string, edit: Edit): StateDict {
  const map = new Map(readWeights(name));
  edit(map);
  return map;
}

const renamed = (name: string, rename: (name: string) => string): StateDict =>
  new Map(Array.from(readWeights(name), ([each, tensor]) => [rename(each), tensor]));

/** A tensor with all values `by` larger. */
function shifted(tensor: CheckpointTensor, by: number): CheckpointTensor {
  const values = Float32Array.from(valuesOf(tensor), (value) => value + by);
  return { dataType: DataType.FLOAT, dims: tensor.dims, range: memoryRange(new Uint8Array(values.buffer)) };
}

const extra: CheckpointTensor = { dataType: 1, dims: [2, 8], range: memoryRange(new Uint8Array(64)) };

interface Built {
  readonly difference: number;
  readonly task: string;
  readonly notes: readonly string[];
}

/** Builds a case with other values or weights, and compares with what transformers computed for the case. */
async function build(
  name: string,
  values: Record<string, unknown>,
  weights = readWeights(name),
  options: BuildOptions = {},
): Promise<Built> {
  const { model, task, notes } = buildModel(readConfiguration(name, values), weights, options);
  const sample = readSample(name);
  const session = await openInRuntime(model);
  return { difference: largestDifference(await runSample(session, sample), sample), task, notes };
}

const equal = { difference: expect.closeTo(0, 3) as number };

describe("settings under other names and in other forms", () => {
  it.each<[name: string, values: Record<string, unknown>]>([
    ["distilbert-mlm", { dim: undefined, hidden_size: 8 }],
    ["distilbert-mlm", { n_layers: undefined, num_hidden_layers: 2, n_heads: 2, num_attention_heads: 2 }],
    ["modernbert-mlm", { rope_parameters: { full_attention: { rope_theta: 160_000 } }, local_rope_theta: 10_000 }],
    ["modernbert-mlm", { rope_parameters: undefined, rope_theta: 160_000 }],
    ["modernbert-mlm", { local_attention: undefined, sliding_window: 3 }],
    ["modernbert-mlm", { layer_types: undefined, global_attn_every_n_layers: 3 }],
    ["bert-sequence", { id2label: undefined, num_labels: 3 }],
    ["esm-mlm", { vocab_size: null, emb_layer_norm_before: null }],
    ["bert-mlm", { is_decoder: null, add_cross_attention: null, torch_dtype: "float16", pruned_heads: {} }],
  ])("%s: %j changes nothing", async (name, values) => {
    expect(await build(name, values)).toMatchObject({ ...equal, notes: [] });
  });

  it.each<[name: string, values: Record<string, unknown>, code: string, says: RegExp]>([
    ["distilbert-mlm", { n_heads: 2, num_attention_heads: 1 }, "bad-config", /n_heads is 2, but num_attention_heads/],
    ["bert-mlm", { num_attention_heads: undefined }, "bad-config", /12 heads.*defaults where it does not give/],
    ["modernbert-mlm", { global_rope_theta: 5 }, "bad-config", /contradicts itself.*global_rope_theta is 5/],
    ["modernbert-mlm", { local_attention: 6, sliding_window: 4 }, "bad-config", /contradicts itself.*sliding_window/],
    ["modernbert-mlm", { global_attn_every_n_layers: 2 }, "bad-config", /contradicts itself.*layer_types/],
    ["modernbert-mlm", { rope_parameters: { rope_theta: 5 } }, "unsupported-variant", /rope_parameters/],
    [
      "modernbert-mlm",
      { rope_parameters: { full_attention: { rope_type: "linear", factor: 2 } } },
      "unsupported-variant",
      /linear/,
    ],
    ["modernbert-mlm", { rope_scaling: { type: "linear", factor: 2 } }, "unsupported-variant", /rope_scaling/],
    ["bert-mlm", { layer_norm_eps: null }, "bad-config", /layer_norm_eps should be a positive number, but is null/],
    ["bert-mlm", { pruned_heads: { 1: [0] } }, "unsupported-variant", /Heads of layers 1 were removed/],
    ["esm-absolute", { pad_token_id: undefined }, "bad-config", /pad_token_id/],
    ["bert-sequence", { id2label: { 0: "a", 1: "b" } }, "shape-mismatch", /names 2 labels.*has 3 rows/],
    ["bert-mlm", { intermediate_size: undefined }, "shape-mismatch", /does not give intermediate_size/],
  ])("%s: %j is refused", (name, values, code, says) => {
    const error = failure(() => buildModel(readConfiguration(name, values), readWeights(name)));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(says)]);
  });

  it("ModernBERT's local layers have the global base if theirs is null, as in transformers 4", async () => {
    const values = { rope_parameters: undefined, global_rope_theta: 100, local_rope_theta: null };
    const explicit = { ...values, local_rope_theta: 100 };
    const [first, second] = [await build("modernbert-mlm", values), await build("modernbert-mlm", explicit)];
    expect(first.difference).toBe(second.difference);
    expect(first.difference).toBeGreaterThan(1e-3);
  });

  it.each<[name: string, values: Record<string, unknown>, named: string]>([
    ["bert-mlm", { alibi: true, rope_theta: 100 }, "alibi (true), rope_theta (100)"],
    ["distilbert-mlm", { hidden_act: "relu" }, 'hidden_act ("relu")'],
    ["esm-mlm", { hidden_act: "silu" }, 'hidden_act ("silu")'],
    ["modernbert-mlm", { layer_norm_eps: 0.1 }, "layer_norm_eps (0.1)"],
  ])("%s: %j is named, because nothing uses it", async (name, values, named) => {
    const { notes } = await build(name, values);
    expect(notes).toEqual([expect.stringContaining(named)]);
  });

  it("labels that config.json does not name are those of the classifier", async () => {
    expect(await build("bert-sequence", { id2label: undefined, label2id: undefined })).toMatchObject({
      ...equal,
      notes: [expect.stringContaining("names no labels; the classifier has 3")],
    });
  });
});

describe("flags and weights", () => {
  const decoder = "cls.predictions.decoder.weight";

  it("a tied decoder that is in the file too changes nothing", async () => {
    const weights = edited("bert-mlm", (map) => map.set(decoder, map.get("bert.embeddings.word_embeddings.weight")!));
    expect(await build("bert-mlm", {}, weights)).toMatchObject({ ...equal, notes: [] });
  });

  it("an untied decoder counts, whatever the flag says", async () => {
    expect(await build("bert-untied", { tie_word_embeddings: true })).toMatchObject({
      ...equal,
      notes: [expect.stringContaining(decoder), expect.stringContaining("cls.predictions.decoder.bias")],
    });
  });

  it("a tied embedding may be stored under the decoder's name only", async () => {
    const weights = renamed("modernbert-mlm", (name) => name.replace("model.embeddings.tok_embeddings", "decoder"));
    expect(await build("modernbert-mlm", {}, weights)).toMatchObject({ ...equal, notes: [] });
    const error = failure(() =>
      buildModel(readConfiguration("modernbert-mlm", { tie_word_embeddings: false }), weights),
    );
    expect([error.code, error.details["missing"]]).toEqual([
      "missing-weights",
      ["model.embeddings.tok_embeddings.weight"],
    ]);
  });

  it("an untied decoder that is not there is missed, and the flag named", () => {
    const config = readConfiguration("bert-mlm", { tie_word_embeddings: false });
    const error = failure(() => buildModel(config, readWeights("bert-mlm")));
    expect([error.code, error.details["missing"]]).toEqual(["missing-weights", [decoder]]);
    expect(error.message).toContain("tie_word_embeddings is false");
  });

  it("a bias that the flags deny is no spare weight", () => {
    const error = failure(() =>
      buildModel(readConfiguration("modernbert-mlm", { decoder_bias: false }), readWeights("modernbert-mlm")),
    );
    expect([error.code, error.details["unexpected"]]).toEqual(["unexpected-weights", ["decoder.bias"]]);
  });

  it("of two biases that differ, the decoder's own counts", async () => {
    const twin = edited("bert-mlm", (map) => {
      map.set("cls.predictions.decoder.bias", map.get("cls.predictions.bias")!);
      map.set("cls.predictions.bias", shifted(map.get("cls.predictions.bias")!, 1));
    });
    const { difference, notes } = await build("bert-mlm", {}, twin);
    expect([difference < 1e-4, notes]).toEqual([true, [expect.stringContaining("differ in the file")]]);
  });
});

const without = (name: string, pattern: RegExp): StateDict =>
  edited(name, (map) => [...map.keys()].filter((each) => pattern.test(each)).forEach((each) => map.delete(each)));

describe("heads", () => {
  it.each<[name: string, task: string]>([
    ["bert-mlm", "fill-mask"],
    ["bert-sequence", "text-classification"],
    ["bert-token", "token-classification"],
    ["albert-sequence", "text-classification"],
    ["albert-token", "token-classification"],
    ["distilbert-sequence", "text-classification"],
    ["distilbert-token", "token-classification"],
    ["roberta-sequence", "text-classification"],
    ["xlm-roberta-token", "token-classification"],
    ["electra-sequence", "text-classification"],
    ["esm-token", "token-classification"],
    ["esm-mlm", "fill-mask"],
    ["modernbert-mlm", "fill-mask"],
    ["bert-none", "feature-extraction"],
  ])("%s without architectures is for %s; classifiers are noted", async (name, task) => {
    const built = await build(name, { architectures: undefined });
    expect(built).toMatchObject({ ...equal, task });
    expect(built.notes.map((note) => note.includes(`built for ${task}`))).toEqual(
      task.endsWith("classification") ? [true] : [],
    );
  });

  it("whose task the weights do not tell are not guessed", () => {
    const error = failure(() =>
      buildModel(readConfiguration("modernbert-token", { architectures: undefined }), readWeights("modernbert-token")),
    );
    expect([error.code, error.message]).toEqual([
      "unsupported-variant",
      expect.stringMatching(/--task.*text-classification, token-classification, feature-extraction/),
    ]);
  });

  it("a token classifier may have a pooler, as before transformers 4, if config.json says what it is", async () => {
    const square: CheckpointTensor = { dataType: 1, dims: [8, 8], range: memoryRange(new Uint8Array(256)) };
    const weights = edited("bert-token", (map) => map.set("bert.pooler.dense.weight", square));
    expect(await build("bert-token", {}, weights)).toMatchObject({ ...equal, task: "token-classification", notes: [] });
  });

  it("a causal class that sees both sides computes what a masked one computes", async () => {
    expect(await build("bert-mlm", { architectures: ["BertLMHeadModel"] })).toMatchObject({ ...equal, notes: [] });
    expect(await build("roberta-mlm", { architectures: ["RobertaForCausalLM"] })).toMatchObject({
      ...equal,
      notes: [],
    });
  });

  it("a bare encoder under a masked class gives hidden states, with a note", () => {
    const bare = without("bert-mlm", /^cls\./);
    const { task, notes } = buildModel(readConfiguration("bert-mlm"), bare);
    expect([task, notes]).toEqual(["feature-extraction", [expect.stringMatching(/BertForMaskedLM.*no head/)]]);
    expect(failure(() => buildModel(readConfiguration("bert-mlm"), without("bert-mlm", /bias$/))).code).toBe(
      "missing-weights",
    );
  });

  it("another head than the class's is refused", () => {
    const error = failure(() =>
      buildModel(
        readConfiguration("bert-mlm", { architectures: ["BertForSequenceClassification"] }),
        readWeights("bert-mlm"),
      ),
    );
    expect(error.message).toMatch(/no such head, but one for masked language modelling.*--task/);
    const several = { architectures: ["BertForMaskedLM", "BertForSequenceClassification"] };
    expect(failure(() => buildModel(readConfiguration("bert-mlm", several), readWeights("bert-mlm"))).message).toMatch(
      /different heads/,
    );
  });

  it("that the graph leaves out are named, unless the task was asked for", () => {
    const config = readConfiguration("bert-mlm", { architectures: ["BertModel"] });
    const { notes } = buildModel(config, readWeights("bert-mlm"));
    expect(notes).toEqual([expect.stringContaining("leaves out: cls.predictions")]);
    expect(buildModel(config, readWeights("bert-mlm"), { task: "feature-extraction" }).notes).toEqual([]);
    const both = edited("bert-mlm", (map) => map.set("qa_outputs.weight", extra));
    expect(buildModel(readConfiguration("bert-mlm"), both).notes).toEqual([expect.stringContaining("qa_outputs")]);
  });

  it("that only look like one are unexpected weights", () => {
    const decoder = edited("bert-none", (map) => map.set("decoder.layers.0.weight", extra));
    expect(failure(() => buildModel(readConfiguration("bert-none"), decoder)).code).toBe("unexpected-weights");
  });
});

describe("names", () => {
  it.each([
    ["_orig_mod.", (name: string) => `_orig_mod.${name}`],
    ["module._orig_mod.", (name: string) => `module._orig_mod.${name}`],
    ["_orig_mod in every layer", (name: string) => name.replace(/layer\.(\d)\./, "layer.$1._orig_mod.")],
    ["FSDP", (name: string) => `_fsdp_wrapped_module.${name.replace("encoder.", "encoder._fsdp_wrapped_module.")}`],
    ["bert. twice, its head outside", (name: string) => name.replace(/^bert\./, "bert.bert.")],
    ["bert. twice, its head with it", (name: string) => `bert.${name}`],
    ["a bare encoder within a module, its head outside", (name: string) => name.replace(/^bert\./, "net.encoder.")],
  ])("that were wrapped are understood: %s", async (_, rename) => {
    expect(await build("bert-mlm", {}, renamed("bert-mlm", rename))).toMatchObject({ ...equal, notes: [] });
  });

  it("of two encoders are not chosen from", () => {
    const weights = new Map([
      ...renamed("bert-none", (name) => `query_model.${name}`),
      ...renamed("bert-none", (name) => `document_model.${name}`),
    ]);
    const error = failure(() => buildModel(readConfiguration("bert-none"), weights));
    expect([error.code, error.details["encoders"]]).toEqual([
      "unexpected-weights",
      ["query_model.", "document_model."],
    ]);
    const second = new Map([...readWeights("bert-mlm"), ...renamed("bert-none", (name) => `teacher.${name}`)]);
    expect(failure(() => buildModel(readConfiguration("bert-mlm"), second)).message).toContain("2 encoders");
  });

  it("outside the chosen prefix are unexpected", () => {
    const weights = new Map([...renamed("bert-mlm", (name) => `model.${name}`), ["pooling.gate.weight", extra]]);
    const error = failure(() => buildModel(readConfiguration("bert-mlm"), weights));
    expect(error.details["unexpected"]).toEqual(["pooling.gate.weight"]);
  });
});

it("outside of the encoder are left out, with a note, if its features are asked for", () => {
  const config = readConfiguration("bert-none");
  const weights = edited("bert-none", (map) => map.set("linear.weight", extra));
  const whole = new Map(
    Array.from(weights, ([name, tensor]) => [name === "linear.weight" ? name : `bert.${name}`, tensor]),
  );
  expect(failure(() => buildModel(config, whole)).message).toMatch(/linear\.weight.*--task/);
  const { notes } = buildModel(config, whole, { task: "feature-extraction" });
  expect(notes).toEqual([expect.stringMatching(/outside of the encoder.*linear\.weight/)]);
  const inside = edited("bert-none", (map) => map.set("encoder.layer.0.adapter.weight", extra));
  expect(failure(() => buildModel(config, inside, { task: "feature-extraction" })).code).toBe("unexpected-weights");
});

it("rotary frequencies that differ between layers are refused", () => {
  const stored = [...readWeights("esm-mlm").keys()].find((name) => name.endsWith("inv_freq"))!;
  const put = (by: number): StateDict =>
    edited("esm-mlm", (map) => {
      const tensor = map.get(stored)!;
      map.delete(stored);
      map.set("esm.encoder.layer.0.attention.self.rotary_embeddings.inv_freq", tensor);
      map.set("esm.encoder.layer.1.attention.self.rotary_embeddings.inv_freq", shifted(tensor, by));
    });
  expect(buildModel(readConfiguration("esm-mlm"), put(0)).notes).toEqual([]);
  expect(failure(() => buildModel(readConfiguration("esm-mlm"), put(1))).message).toContain("inv_freq");
});

describe("weights of other libraries are named as what they are", () => {
  const query = "bert.encoder.layer.0.attention.self.query";

  it.each([
    [`${query}.weight.quant_state.bitsandbytes__nf4`, /quantised \(bitsandbytes, 4 bits/],
    [`${query}.SCB`, /quantised \(bitsandbytes, 8 bits/],
    [`${query}.qweight`, /quantised \(GPTQ or AWQ/],
    [`${query}.weight_packed`, /quantised \(compressed-tensors/],
    [`${query}.weight_scale_inv`, /quantised \(scaled 8-bit/],
    [`base_model.model.${query}.lora_A.default.weight`, /adapter that was not merged.*merge_and_unload/],
    ["bert/encoder/layer_0/attention/self/query/kernel:0", /TensorFlow or Flax/],
    ["encoder.layer.0.attention.self.query.kernel", /TensorFlow or Flax/],
    [`${query}.base_layer.weight`, /adapter that was not merged/],
  ])("%s", (name, says) => {
    const weights = edited("bert-mlm", (map) => map.set(name, extra));
    const error = failure(() => buildModel(readConfiguration("bert-mlm"), weights));
    expect([error.code, error.message]).toEqual(["unsupported-format", expect.stringMatching(says)]);
  });

  it("the library is that of config.json, if it names one; weights that are not quantised are used, with a note", async () => {
    const quantization_config = { quant_method: "awq", bits: 4 };
    const weights = edited("bert-mlm", (map) => map.set(`${query}.qweight`, extra));
    const values = { quantization_config };
    expect(failure(() => buildModel(readConfiguration("bert-mlm", values), weights)).message).toContain("(awq:");
    expect(await build("bert-mlm", values)).toMatchObject({
      ...equal,
      notes: [expect.stringContaining("quantization_config")],
    });
  });
});

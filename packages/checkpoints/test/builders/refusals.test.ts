import { expect, it, describe } from "vitest";
import { buildModel } from "../../src/builders/build-model.ts";
import { memoryRange } from "@favor/onnx";
import type { CheckpointTensor, StateDict } from "../../src/formats/state-dict.ts";
import type { CheckpointErrorCode } from "../../src/formats/errors.ts";
import {
  largestDifference,
  modelOf,
  openInRuntime,
  readConfiguration,
  readSample,
  readWeights,
  runSample,
} from "./checkpoints.ts";
import { failure } from "../formats/failure.ts";

function changed(weights: StateDict, change: (map: Map<string, CheckpointTensor>) => void): StateDict {
  const map = new Map(weights);
  change(map);
  return map;
}

function renamed(weights: StateDict, rename: (name: string) => string): StateDict {
  return new Map(Array.from(weights, ([name, tensor]) => [rename(name), tensor]));
}

const bert = readWeights("bert-mlm");
const config = readConfiguration("bert-mlm");
const query = "bert.encoder.layer.0.attention.self.query.weight";
const extra: CheckpointTensor = { dataType: 1, dims: [1], range: memoryRange(new Uint8Array(4)) };

it.each<[what: string, config: unknown, code: CheckpointErrorCode, says: string]>([
  ["no object", [], "bad-config", "not a JSON object"],
  ["no model_type", readConfiguration("bert-mlm", { model_type: undefined }), "unsupported-model", "no model_type"],
  ["an unknown model_type", { ...config, model_type: "gpt2" }, "unsupported-model", '"gpt2"'],
  ["MPNet", { ...config, model_type: "mpnet" }, "unsupported-model", "relative position"],
  ["DeBERTa", { ...config, model_type: "deberta-v2" }, "unsupported-model", "DeBERTa"],
  ["an unknown activation", { ...config, hidden_act: "mish" }, "unsupported-activation", '"mish"'],
  ["relative positions", { ...config, position_embedding_type: "relative_key" }, "unsupported-variant", "relative_key"],
  ["a decoder", { ...config, is_decoder: true }, "unsupported-variant", "is_decoder"],
  ["question answering", { ...config, architectures: ["BertForQuestionAnswering"] }, "unsupported-variant", "Question"],
  ["another vocabulary", { ...config, vocab_size: 25 }, "vocabulary-mismatch", "25"],
  ["another hidden size", { ...config, hidden_size: 10 }, "shape-mismatch", "[24, 10]"],
  ["heads that do not divide it", { ...config, num_attention_heads: 3 }, "bad-config", "multiple of 3 heads"],
  ["a size that is none", { ...config, hidden_size: "8" }, "bad-config", "hidden_size"],
  ["a billion layers", { ...config, num_hidden_layers: 1e9 }, "bad-config", "num_hidden_layers"],
  ["more layers than there are", { ...config, num_hidden_layers: 3 }, "missing-weights", "encoder.layer.2"],
  ["fewer layers than there are", { ...config, num_hidden_layers: 1 }, "unexpected-weights", "encoder.layer.1"],
  ["another architecture", { ...config, model_type: "modernbert" }, "missing-weights", "tok_embeddings"],
])("refuses a configuration with %s", (_, values, code, says) => {
  const error = failure(() => modelOf(values, bert));
  expect(error.code).toBe(code);
  expect(error.message).toContain(says);
});

describe("weights", () => {
  it("that are missing are all named", () => {
    const weights = changed(bert, (map) => ["cls.predictions.bias", query].forEach((name) => map.delete(name)));
    const error = failure(() => modelOf(config, weights));
    expect(error.code).toBe("missing-weights");
    expect(error.details["missing"]).toEqual([query, "cls.predictions.bias"]);
  });

  it("that are unexpected are named, and left out on request", () => {
    const names = ["bert.encoder.layer.0.adapter.weight", "something.weight"];
    const weights = changed(bert, (map) => names.forEach((name) => map.set(name, extra)));
    const error = failure(() => modelOf(config, weights));
    expect(error.code).toBe("unexpected-weights");
    expect(error.details["unexpected"]).toEqual(names);
    expect(modelOf(config, weights, { ignoreUnexpected: true }).graph.node.length).toBeGreaterThan(0);
  });

  it("of other heads and buffers may be there", () => {
    const names = ["cls.seq_relationship.weight", "cls.species.weight", "bert.embeddings.position_ids"];
    const weights = changed(bert, (map) => names.forEach((name) => map.set(name, extra)));
    expect(modelOf(config, weights).graph.output[0]!.name).toBe("logits");
  });

  it("that are quantised are refused", () => {
    const { dims, range } = bert.get(query)!;
    const weights = changed(bert, (map) => map.set(query, { dataType: 3, dims, range }));
    const error = failure(() => modelOf(config, weights));
    expect(error.code).toBe("unsupported-type");
    expect(error.message).toContain(query);
  });
});

describe("names", () => {
  const sample = readSample("bert-mlm");
  const differenceOf = async (weights: StateDict, values: unknown = config): Promise<number> => {
    const session = await openInRuntime(modelOf(values, weights));
    return largestDifference(await runSample(session, sample), sample);
  };

  it.each([
    ["module.", (name: string) => `module.${name}`],
    ["model.", (name: string) => `model.${name}`],
    ["no prefix of the backbone", (name: string) => name.replace(/^bert\./, "")],
    ["another prefix of the backbone", (name: string) => name.replace(/^bert\./, "model.")],
    ["gamma and beta", (name: string) => name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")],
    ["the bias at the decoder", (name: string) => name.replace("predictions.bias", "predictions.decoder.bias")],
  ])("of other writers are understood: %s", async (_, rename) => {
    expect(await differenceOf(renamed(bert, rename))).toBeLessThan(1e-4);
  });

  it("of architectures outside transformers are understood by the weights", () => {
    const values = { ...config, architectures: ["AntiBERTy"] };
    expect(buildModel(values, bert).task).toBe("fill-mask");
    const backbone = changed(bert, (map) =>
      [...map.keys()].filter((name) => name.startsWith("cls")).forEach((name) => map.delete(name)),
    );
    expect(buildModel(values, backbone).task).toBe("feature-extraction");
  });

  it("and details of the configuration show in the numbers", async () => {
    expect(await differenceOf(bert, { ...config, hidden_act: "gelu_new" })).toBeGreaterThan(1e-4);
    expect(await differenceOf(bert, { ...config, layer_norm_eps: 1e-2 })).toBeGreaterThan(1e-3);
    expect(await differenceOf(bert, { ...config, num_attention_heads: 1 })).toBeGreaterThan(1e-3);
  });
});

it.each([
  ["modernbert-mlm", { local_attention: 8 }],
  ["modernbert-mlm", { rope_parameters: undefined, global_rope_theta: 100 }],
  ["esm-mlm", { token_dropout: false }],
  ["esm-mlm", { mask_token_id: 21 }],
  ["roberta-mlm", { pad_token_id: 2 }],
])("%s depends on %j", async (name, changes) => {
  const sample = readSample(name);
  const session = await openInRuntime(modelOf(readConfiguration(name, changes), readWeights(name)));
  expect(largestDifference(await runSample(session, sample), sample)).toBeGreaterThan(1e-3);
});

it("ModernBERT's configuration of transformers 4 is read as that of 5", async () => {
  const former = {
    rope_parameters: undefined,
    layer_types: undefined,
    global_rope_theta: 160_000,
    local_rope_theta: 10_000,
  };
  const sample = readSample("modernbert-mlm");
  const model = modelOf(readConfiguration("modernbert-mlm", former), readWeights("modernbert-mlm"));
  expect(largestDifference(await runSample(await openInRuntime(model), sample), sample)).toBeLessThan(1e-4);
});

it("any checkpoint gives features, whatever its head", async () => {
  const features = modelOf(config, bert, { task: "feature-extraction" });
  expect(features.graph.output[0]!.name).toBe("last_hidden_state");
  const session = await openInRuntime(features);
  const { last_hidden_state: hidden } = await runSample(session, readSample("bert-mlm"));
  expect(hidden!.dims).toEqual([2, 13, 8]);
});

import { FavorError } from "@favor/core";
import { errorOf, withUnknown, writtenObjects } from "@favor/test-support/unknown-options";
import * as tf from "@tensorflow/tfjs";
import { expect, it } from "vitest";
import * as favor from "../src/index.ts";

await tf.setBackend("cpu");

type Call = (...given: never[]) => unknown;

const projection = { kind: "orthogonal", count: 8, dim: 4, seed: 1 } as const;
const featureMap = { version: 1, kind: "positive", projection } as const;
const exactKeys = { window: 2, chosenBlocks: 1 };
const heads = tf.ones([1, 2, 6, 4]);
const rows = tf.ones([2, 6, 4]);
const sizes = { modelDim: 8, numHeads: 2, feedForwardDim: 8, attention: featureMap, exactKeys };
const stack = { ...sizes, numLayers: 1 };
const language = { ...stack, vocabularySize: 5, maxLength: 6 };

const layers: Record<string, [layer: new (...args: never[]) => tf.layers.Layer, args: object, input: tf.Tensor]> = {
  FavorAttention: [favor.FavorAttention, { attention: featureMap, exactKeys, scale: 1 }, rows],
  MultiHeadAttention: [favor.MultiHeadAttention, { numHeads: 2, keyDim: 4, attention: featureMap, exactKeys }, rows],
  PerformerEncoderLayer: [favor.PerformerEncoderLayer, sizes, tf.ones([2, 6, 8])],
  PerformerEncoder: [favor.PerformerEncoder, stack, tf.ones([2, 6, 8])],
  PerformerMaskedLM: [favor.PerformerMaskedLM, language, tf.ones([2, 6])],
};
const create = (name: string, args: object): tf.layers.Layer => new layers[name]![0](args as never);

/** A right call of each function. */
const calls: Record<string, [call: Call, given: unknown[]]> = {
  favorAttention: [favor.favorAttention, [heads, heads, heads, { featureMap, causal: true }]],
  hybridAttention: [favor.hybridAttention, [heads, heads, heads, { featureMap, exactKeys }]],
  exactAttention: [favor.exactAttention, [heads, heads, heads, { causal: true }]],
  causalLinearAttention: [favor.causalLinearAttention, [rows, rows, rows, { reverse: true }]],
  performerMaskedLM: [favor.performerMaskedLM, [language]],
};
/** Functions that take no object a user writes, with a wrong argument where plain JavaScript may give one. */
const withoutOptions: Record<string, [call: Call, wrong?: unknown]> = {
  startFavor: [favor.startFavor, { featureMap }],
  repairBackend: [favor.repairBackend, { backend: "wasm" }],
  FavorState: [() => new favor.FavorState()],
  detached: [favor.detached],
  maskedCrossEntropy: [favor.maskedCrossEntropy, { labels: rows }],
  redrawEvery: [favor.redrawEvery, { steps: 2 }],
  redrawProjections: [favor.redrawProjections, {}],
  softmaxAttention: [favor.softmaxAttention, heads],
};

it("the tables have every public function and layer", () => {
  const functions = Object.entries(favor).filter(([, value]) => typeof value === "function");
  const listed = [layers, calls, withoutOptions].flatMap(Object.keys);
  expect(listed.toSorted()).toEqual(functions.map(([name]) => name).toSorted());
  expect(favor.layerClasses.map(({ name }) => name)).toEqual(Object.keys(layers));
});

const constructors = Object.entries(layers).map(([name, [, args]]): [string, [Call, unknown[]]] => [
  name,
  [((given: object) => create(name, given)) as Call, [args]],
]);

it.each([...Object.entries(calls), ...constructors])(
  "%s takes right arguments, and none that it would not read",
  (_name, [call, given]) => {
    const anyCall = call as (...given: unknown[]) => unknown;
    anyCall(...given);
    const paths = writtenObjects(given, new Set());
    expect(paths).not.toEqual([]);
    for (const path of paths) {
      const error = errorOf(() => anyCall(...(withUnknown(given, path) as unknown[])));
      expect({ path, error }).toMatchObject({ error: { code: "unknown-option", details: { option: "notAnOption" } } });
    }
  },
);

it.each(Object.entries(withoutOptions).filter(([, { length }]) => length > 1))(
  "%s refuses an object that it would not read",
  (_name, [call, wrong]) => {
    expect(errorOf(() => (call as (given: unknown) => unknown)(wrong))).toBeInstanceOf(FavorError);
  },
);

it.each(Object.keys(layers))("%s takes the arguments of all layers, and its own config", async (name) => {
  const [, args, input] = layers[name]!;
  const inputShape = input.shape.slice(1);
  const layer = create(name, { ...args, name: "a", trainable: true, dtype: "int32", inputShape, batchSize: 3 });
  expect(layer.batchInputShape).toEqual([3, ...inputShape]);
  expect(layer.dtype).toBe("int32");
  const model = tf.sequential({ layers: [layer] });
  const again = (await tf.models.modelFromJSON(model.toJSON(undefined, false) as never)) as tf.Sequential;
  expect(again.layers[0]!.getConfig()).toEqual(layer.getConfig());
  expect(JSON.stringify(again.layers[0]!.getConfig())).not.toContain("customObjects");

  const first = create(name, args);
  const expected = first.apply(input) as tf.Tensor;
  const weights = first.getWeights();
  const second = create(name, { ...args, weights }).apply(input) as tf.Tensor;
  expect(second.dataSync()).toEqual(expected.dataSync());
});

it.each(Object.keys(layers))("%s refuses an argument of a call that it would not read", (name) => {
  const [, args, input] = layers[name]!;
  const layer = create(name, args);
  layer.apply(input, { training: false });
  expect(() => layer.apply(input, { attention_mask: null })).toThrow("kwargs.attention_mask is not known here.");
  expect(() => layer.apply(input, { useCausalMask: true })).toThrow("It is an argument of the constructor.");
});

it.each([
  [
    () => create("MultiHeadAttention", { numHeads: 2, key_dim: 4 }),
    "args.key_dim is not known here. Did you mean keyDim?",
  ],
  [() => create("FavorAttention", { attention: "exact", frozenParts: ["0"] }), "args.frozenParts is not known here."],
  [() => favor.favorAttention(heads, heads, heads, { exactKeys } as never), "hybridAttention takes it."],
  [() => favor.hybridAttention(heads, heads, heads, { state: 1 } as never), "favorAttention takes it."],
  [() => favor.exactAttention(heads, heads, heads, { featureMap } as never), "favorAttention takes it."],
  [() => favor.softmaxAttention(), "softmaxAttention is called exactAttention now"],
  [() => favor.repairBackend("wsam"), "backend: expected the name of a backend"],
])("%#: names what the user can do", (call, message) => {
  expect(call).toThrow(message);
});

it.each(Object.keys(layers))("%s of a model saved with the name softmax loads, and is exact", (name) => {
  const [, { exactKeys: _keys, ...args }, input] = layers[name] as [never, { exactKeys: object }, tf.Tensor];
  const exact = create(name, { ...args, attention: "exact" });
  const config = exact.getConfig();
  expect(config["attention"]).toBe("exact");
  const expected = exact.apply(input) as tf.Tensor;
  const loaded = create(name, { ...config, attention: "softmax", weights: exact.getWeights() });
  expect((loaded.apply(input) as tf.Tensor).dataSync()).toEqual(expected.dataSync());
  expect(loaded.getConfig()).toEqual(config);
});

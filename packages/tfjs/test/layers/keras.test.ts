import * as tf from "@tensorflow/tfjs";
import { expect, it } from "vitest";
import { MultiHeadAttention } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import golden from "../fixtures/keras-attention.json" with { type: "json" };
import { relativeError } from "../ops/samples.ts";

// made by tools/conformance/python/keras/attention.py
type Case = (typeof golden.cases)[number];
interface Numbers {
  readonly shape: number[];
  readonly values: number[];
}

const tensor = ({ shape, values }: Numbers, dtype: tf.NumericDataType | "bool" = "float32"): tf.Tensor =>
  tf.tensor(values, shape, dtype);

function layerOf(example: Case, returnAttentionScores: boolean): MultiHeadAttention {
  const { num_heads: numHeads, key_dim: keyDim, ...rest } = example.arguments;
  const valueDim = "value_dim" in rest ? rest.value_dim : keyDim;
  const useBias = "use_bias" in rest ? rest.use_bias : true;
  return new MultiHeadAttention({
    numHeads,
    keyDim,
    valueDim: valueDim!,
    useBias: useBias!,
    useCausalMask: example.causal,
    returnAttentionScores,
  });
}

onEveryBackend("MultiHeadAttention with the weights of Keras", () => {
  it.each(golden.cases.map((example) => [example.name, example] as const))(
    "%s: gives its outputs",
    (_name, example) => {
      const query = tensor(example.query);
      const value = "value" in example ? tensor(example.value as Numbers) : query;
      const inputs = [query, value, value, ...("mask" in example ? [tensor(example.mask as Numbers, "bool")] : [])];
      const options = "attentionMask" in example ? { attentionMask: tensor(example.attentionMask as Numbers) } : {};
      for (const withScores of [false, true]) {
        const layer = layerOf(example, withScores);
        layer.build(inputs.map((x) => x.shape));
        // the same weights in the same order and shape
        expect(layer.weights.map((weight) => weight.shape)).toEqual(example.weights.map((weight) => weight.shape));
        expect(layer.weights.map((weight) => weight.originalName)).toEqual(
          example.weights.map((weight) => weight.name),
        );
        layer.setWeights(example.weights.map((weight) => tensor(weight)));
        const result = layer.apply(inputs, options) as tf.Tensor | tf.Tensor[];
        const [output, scores] = Array.isArray(result) ? result : [result];
        expect(output!.shape).toEqual(example.output.shape);
        expect(relativeError(output!.dataSync(), example.output.values)).toBeLessThan(1e-5);
        const scoreError = scores ? relativeError(scores.dataSync(), example.scores.values) : 0;
        expect(scoreError).toBeLessThan(1e-5);
        expect(scores !== undefined).toBe(withScores);
      }
    },
  );
});

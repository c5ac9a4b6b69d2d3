import { refuseVariants, type Architecture } from "../architecture.ts";
import type { Configuration } from "../configuration.ts";
import { maskedLanguageHead, pooledClassifier, tokenClassifier } from "../heads.ts";
import { maskedLanguage, otherHead, pooledClassifiers, questionAnswering } from "../known-heads.ts";
import { linear } from "../modules.ts";
import { tokenPositions } from "../positions.ts";
import { postNormLayer, summedEmbeddings } from "../post-norm-layer.ts";
import type { LayerNames, LayerSizes } from "../post-norm-layer.ts";
import { additiveMask } from "../self-attention.ts";

const wordEmbeddings = "embeddings.word_embeddings";

const layerNames: LayerNames = {
  query: "attention.query",
  key: "attention.key",
  value: "attention.value",
  attentionOutput: "attention.dense",
  attentionNorm: "attention.LayerNorm",
  intermediate: "ffn",
  output: "ffn_output",
  outputNorm: "full_layer_layer_norm",
};

const sizesOf = (config: Configuration): LayerSizes => ({
  hidden: config.size("hidden_size", 4096),
  heads: config.size("num_attention_heads", 64),
  intermediate: config.size("intermediate_size", 16_384),
  activation: config.text("hidden_act", "gelu_new"),
  epsilon: config.positive("layer_norm_eps", 1e-12),
});

const hidden = (config: Configuration): number => sizesOf(config).hidden;
const widthOf = (config: Configuration): number => config.size("embedding_size", 128);

/** ALBERT: narrow embeddings, and layers that share their weights in groups. */
export const albert: Architecture = {
  prefix: "albert",
  embedding: wordEmbeddings,
  firstMatrix: "encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight",
  decoder: "predictions.decoder.weight",
  hasTokenTypes: true,
  ignored: (config) => ({ activation: sizesOf(config).activation }),
  dispensable: /^(embeddings\.(position_ids|token_type_ids)|pooler\..*)$/,
  heads: (backbone) => [
    maskedLanguage(/^predictions\./),
    pooledClassifiers(backbone.has("pooler.weight")),
    questionAnswering,
    otherHead("the order of sentences", /^sop_classifier\./),
  ],
  hidden,
  encode: (building, { inputIds, attentionMask, tokenTypeIds }) => {
    const { graph, config, backbone } = building;
    refuseVariants(config, ["absolute"]);
    const sizes = sizesOf(config);
    const width = widthOf(config);
    const positions = tokenPositions(graph, inputIds);
    let x = summedEmbeddings(building, inputIds, positions, tokenTypeIds, { width, epsilon: sizes.epsilon });
    const mapping = "encoder.embedding_hidden_mapping_in";
    x = graph.within(mapping, () => linear(graph, backbone.within(mapping), x, [width, sizes.hidden]));
    const mask = additiveMask(graph, attentionMask);
    const layers = config.layers("num_hidden_layers", 12);
    const groups = config.layers("num_hidden_groups", 1);
    const inner = config.layers("inner_group_num", 1);
    for (let index = 0; index < layers; index++) {
      const group = Math.trunc(index / (layers / groups));
      for (let part = 0; part < inner; part++) {
        const weights = backbone.within(`encoder.albert_layer_groups.${group}.albert_layers.${part}`);
        const name = `encoder.layer.${index * inner + part}`;
        x = graph.within(name, () => postNormLayer(graph, weights, x, mask, sizes, layerNames));
      }
    }
    return x;
  },
  fillMask: (building, x) => {
    const names = {
      dense: "predictions.dense",
      norm: "predictions.LayerNorm",
      decoder: "predictions.decoder",
      bias: "predictions.bias",
      embedding: wordEmbeddings,
    };
    const { config } = building;
    return maskedLanguageHead(building, x, names, { ...sizesOf(config), width: widthOf(config) });
  },
  classifySequence: (building, x) => pooledClassifier(building, x, hidden(building.config), "pooler"),
  classifyTokens: (building, x) => tokenClassifier(building, x, hidden(building.config)),
};

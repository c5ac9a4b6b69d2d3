import { refuseVariants, type Architecture } from "../architecture.ts";
import type { Configuration } from "../configuration.ts";
import { firstTokenClassifier, maskedLanguageHead, tokenClassifier } from "../heads.ts";
import { maskedLanguage, precededClassifiers, questionAnswering } from "../known-heads.ts";
import { tokenPositions } from "../positions.ts";
import { postNormLayer, summedEmbeddings } from "../post-norm-layer.ts";
import type { LayerNames, LayerSizes } from "../post-norm-layer.ts";
import { additiveMask } from "../self-attention.ts";

const wordEmbeddings = "embeddings.word_embeddings";

const layerNames: LayerNames = {
  query: "attention.q_lin",
  key: "attention.k_lin",
  value: "attention.v_lin",
  attentionOutput: "attention.out_lin",
  attentionNorm: "sa_layer_norm",
  intermediate: "ffn.lin1",
  output: "ffn.lin2",
  outputNorm: "output_layer_norm",
};

const sizesOf = (config: Configuration): LayerSizes => ({
  hidden: config.size("dim", 768),
  heads: config.size("n_heads", 12),
  intermediate: config.size("hidden_dim", 3072),
  activation: config.text("activation", "gelu"),
  epsilon: 1e-12,
});

const hidden = (config: Configuration): number => sizesOf(config).hidden;

export const distilbert: Architecture = {
  prefix: "distilbert",
  embedding: wordEmbeddings,
  firstMatrix: "transformer.layer.0.attention.q_lin.weight",
  decoder: "vocab_projector.weight",
  hasTokenTypes: false,
  synonyms: { dim: ["hidden_size"], n_heads: ["num_attention_heads"], n_layers: ["num_hidden_layers"] },
  ignored: (config) => {
    const { activation: hidden_act, intermediate: intermediate_size, epsilon: layer_norm_eps } = sizesOf(config);
    return { hidden_act, intermediate_size, layer_norm_eps };
  },
  dispensable: /^embeddings\.position_ids$/,
  heads: (_, heads) => [
    maskedLanguage(/^vocab_(transform|layer_norm|projector)\./),
    precededClassifiers(heads.has("pre_classifier.weight")),
    questionAnswering,
  ],
  hidden,
  encode: (building, { inputIds, attentionMask }) => {
    const { graph, config, backbone } = building;
    refuseVariants(config, ["absolute"]);
    const sizes = sizesOf(config);
    const positions = tokenPositions(graph, inputIds);
    const embeddingSizes = { width: sizes.hidden, epsilon: sizes.epsilon };
    let x = summedEmbeddings(building, inputIds, positions, undefined, embeddingSizes);
    const mask = additiveMask(graph, attentionMask);
    for (let index = 0; index < config.layers("n_layers", 6); index++) {
      const name = `transformer.layer.${index}`;
      x = graph.within(name, () => postNormLayer(graph, backbone.within(name), x, mask, sizes, layerNames));
    }
    return x;
  },
  fillMask: (building, x) => {
    const sizes = sizesOf(building.config);
    const names = {
      dense: "vocab_transform",
      norm: "vocab_layer_norm",
      decoder: "vocab_projector",
      bias: "vocab_projector.bias",
      embedding: wordEmbeddings,
    };
    return maskedLanguageHead(building, x, names, { ...sizes, width: sizes.hidden });
  },
  classifySequence: (building, x) =>
    firstTokenClassifier(building, x, hidden(building.config), {
      dense: "pre_classifier",
      output: "classifier",
      activation: "relu",
    }),
  classifyTokens: (building, x) => tokenClassifier(building, x, hidden(building.config)),
};

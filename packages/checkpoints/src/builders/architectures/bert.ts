import { refuseVariants, type Architecture } from "../architecture.ts";
import type { Configuration } from "../configuration.ts";
import { firstTokenClassifier, maskedLanguageHead, pooledClassifier, tokenClassifier } from "../heads.ts";
import type { MaskedLanguageNames } from "../heads.ts";
import { denseClassifiers, maskedLanguage, otherHead, pooledClassifiers, questionAnswering } from "../known-heads.ts";
import { linear } from "../modules.ts";
import { positionsAfterPadding, tokenPositions } from "../positions.ts";
import { postNormLayer, summedEmbeddings } from "../post-norm-layer.ts";
import type { LayerNames, LayerSizes } from "../post-norm-layer.ts";
import { additiveMask } from "../self-attention.ts";

const wordEmbeddings = "embeddings.word_embeddings";

const layerNames: LayerNames = {
  query: "attention.self.query",
  key: "attention.self.key",
  value: "attention.self.value",
  attentionOutput: "attention.output.dense",
  attentionNorm: "attention.output.LayerNorm",
  intermediate: "intermediate.dense",
  output: "output.dense",
  outputNorm: "output.LayerNorm",
};

/** The differences between the members of BERT's family. */
interface Variety {
  readonly prefix: string;
  readonly maskedLanguage: Omit<MaskedLanguageNames, "embedding">;
  /** Activation of the masked language head. Default: the encoder's. */
  readonly headActivation?: string;
  readonly classifySequence: Architecture["classifySequence"];
  readonly heads: Architecture["heads"];
  /** RoBERTa counts positions after the padding token, and knows one token type. */
  readonly isRoberta?: boolean;
  /** ELECTRA's embeddings have their own width. */
  readonly embeddingSize?: (config: Configuration) => number;
  readonly defaults?: Partial<LayerSizes>;
}

function bertFamily(variety: Variety): Architecture {
  const { isRoberta = false, defaults = {} } = variety;
  const sizesOf = (config: Configuration): LayerSizes => ({
    hidden: config.size("hidden_size", defaults.hidden ?? 768),
    heads: config.size("num_attention_heads", defaults.heads ?? 12),
    intermediate: config.size("intermediate_size", defaults.intermediate ?? 3072),
    activation: config.text("hidden_act", "gelu"),
    epsilon: config.positive("layer_norm_eps", 1e-12),
  });
  const hidden = (config: Configuration): number => sizesOf(config).hidden;
  const widthOf = variety.embeddingSize ?? hidden;
  const names = { ...variety.maskedLanguage, embedding: wordEmbeddings };
  return {
    prefix: variety.prefix,
    embedding: wordEmbeddings,
    firstMatrix: "encoder.layer.0.attention.self.query.weight",
    decoder: `${names.decoder}.weight`,
    hasTokenTypes: !isRoberta,
    ignored: (config) => ({ activation: sizesOf(config).activation, embedding_size: hidden(config) }),
    heads: variety.heads,
    dispensable: /^(embeddings\.(position_ids|token_type_ids)|pooler\..*)$/,
    hidden,
    encode: (building, { inputIds, attentionMask, tokenTypeIds }) => {
      const { graph, config, backbone } = building;
      refuseVariants(config, ["absolute"]);
      const sizes = sizesOf(config);
      const width = widthOf(config);
      const positions = isRoberta
        ? positionsAfterPadding(graph, inputIds, config.index("pad_token_id", 1))
        : tokenPositions(graph, inputIds);
      const types = isRoberta ? "first" : tokenTypeIds;
      let x = summedEmbeddings(building, inputIds, positions, types, { width, epsilon: sizes.epsilon });
      if (width !== sizes.hidden) x = linear(graph, backbone.within("embeddings_project"), x, [width, sizes.hidden]);
      const mask = additiveMask(graph, attentionMask);
      for (let index = 0; index < config.layers("num_hidden_layers", 12); index++) {
        const name = `encoder.layer.${index}`;
        x = graph.within(name, () => postNormLayer(graph, backbone.within(name), x, mask, sizes, layerNames));
      }
      return x;
    },
    fillMask: (building, x) => {
      const { config } = building;
      const sizes = sizesOf(config);
      const activation = variety.headActivation ?? sizes.activation;
      return maskedLanguageHead(building, x, names, { ...sizes, width: widthOf(config), activation });
    },
    classifySequence: variety.classifySequence,
    classifyTokens: (building, x) => tokenClassifier(building, x, hidden(building.config)),
  };
}

export const bert: Architecture = bertFamily({
  prefix: "bert",
  heads: (backbone) => [
    maskedLanguage(/^cls\.predictions\./),
    pooledClassifiers(backbone.has("pooler.dense.weight")),
    questionAnswering,
    otherHead("next sentence prediction", /^cls\.seq_relationship\./),
    otherHead("something else", /^cls\.(?!predictions\.|seq_relationship\.)/),
  ],
  maskedLanguage: {
    dense: "cls.predictions.transform.dense",
    norm: "cls.predictions.transform.LayerNorm",
    decoder: "cls.predictions.decoder",
    bias: "cls.predictions.bias",
  },
  classifySequence: (building, x) => pooledClassifier(building, x, bert.hidden(building.config), "pooler.dense"),
});

/** RoBERTa, XLM-RoBERTa and CamemBERT. */
export const roberta: Architecture = bertFamily({
  prefix: "roberta",
  heads: () => [maskedLanguage(/^lm_head\./), ...denseClassifiers, questionAnswering],
  isRoberta: true,
  maskedLanguage: {
    dense: "lm_head.dense",
    norm: "lm_head.layer_norm",
    decoder: "lm_head.decoder",
    bias: "lm_head.bias",
  },
  headActivation: "gelu",
  classifySequence: (building, x) =>
    firstTokenClassifier(building, x, roberta.hidden(building.config), {
      dense: "classifier.dense",
      output: "classifier.out_proj",
      activation: "tanh",
    }),
});

/** ELECTRA: the generator has a masked language model's head; both have the same encoder. */
export const electra: Architecture = bertFamily({
  prefix: "electra",
  heads: () => [
    maskedLanguage(/^(generator_predictions\.(dense|LayerNorm)|generator_lm_head)\./),
    ...denseClassifiers,
    questionAnswering,
    otherHead("telling replaced tokens", /^discriminator_predictions\.(dense|dense_prediction)\./),
    otherHead("multiple choice", /^sequence_summary\.summary\./),
  ],
  embeddingSize: (config) => config.size("embedding_size", 128),
  defaults: { hidden: 256, heads: 4, intermediate: 1024 },
  maskedLanguage: {
    dense: "generator_predictions.dense",
    norm: "generator_predictions.LayerNorm",
    decoder: "generator_lm_head",
    bias: "generator_lm_head.bias",
  },
  headActivation: "gelu",
  classifySequence: (building, x) =>
    firstTokenClassifier(building, x, electra.hidden(building.config), {
      dense: "classifier.dense",
      output: "classifier.out_proj",
      activation: "gelu",
    }),
});

import { CheckpointError } from "../formats/errors.ts";
import { jsonObject } from "../formats/json.ts";
import type { Configuration, Synonyms } from "./configuration.ts";
import type { Head } from "./known-heads.ts";
import type { Building } from "./modules.ts";
import type { Weights } from "./weights.ts";

/** The inputs of the graph. */
export interface TokenInputs {
  /** int64 [batch, sequence] */
  readonly inputIds: string;
  /** int64 [batch, sequence], 1 for tokens and 0 for padding */
  readonly attentionMask: string;
  /** int64 [batch, sequence]; "" if the architecture has none */
  readonly tokenTypeIds: string;
}

/** A family of encoders: the names of its weights, and its graph. */
export interface Architecture {
  /** The name of the backbone in checkpoints with a head: "bert". */
  readonly prefix: string;
  /** The name of the token embedding within the backbone. */
  readonly embedding: string;
  /** A matrix of the first layer, which the backbone of every checkpoint has. */
  readonly firstMatrix: string;
  /** The weight of the decoder, among the heads, where it is not tied to the embedding. */
  readonly decoder: string;
  readonly hasTokenTypes: boolean;
  /** Other names of its settings in config.json. */
  readonly synonyms?: Synonyms;
  /** Settings that the architecture ignores, with the values at which it computes the same. */
  ignored(config: Configuration): Readonly<Record<string, unknown>>;
  /** Weights of the backbone that the graph does not need: buffers, poolers, contact heads. */
  readonly dispensable: RegExp;
  /** The heads that checkpoints with these weights may have. */
  heads(backbone: Weights, heads: Weights): readonly Head[];
  hidden(config: Configuration): number;
  /** The last hidden state, [batch, sequence, hidden]. */
  encode(building: Building, inputs: TokenInputs): string;
  /** Logits [batch, sequence, vocabulary]. */
  fillMask(building: Building, hidden: string): string;
  /** Logits [batch, labels]. */
  classifySequence(building: Building, hidden: string, inputs: TokenInputs): string;
  /** Logits [batch, sequence, labels]. */
  classifyTokens(building: Building, hidden: string): string;
}

/**
 * Refuses variants that are not plain encoders: decoders, cross-attention, and kinds of positions not in `positions`.
 *
 * @throws CheckpointError "unsupported-variant"
 */
export function refuseVariants(config: Configuration, positions: readonly string[]): void {
  for (const name of ["is_decoder", "add_cross_attention", "is_encoder_decoder"]) {
    if (config.flag(name, false)) throw variant(name, true, "Only encoders are supported");
  }
  refusePrunedHeads(config);
  const kind = config.text("position_embedding_type", positions[0]!);
  if (!positions.includes(kind)) {
    throw variant("position_embedding_type", kind, `Only ${positions.join(" and ")} positions are supported`);
  }
}

/** Layers of which transformers 4 removed heads have smaller matrices than the others. */
function refusePrunedHeads(config: Configuration): void {
  const pruned = jsonObject(config.raw("pruned_heads")) ?? {};
  const layers = Object.keys(pruned);
  if (layers.length > 0) {
    throw variant("pruned_heads", pruned, `Heads of layers ${layers.join(", ")} were removed, which is not supported`);
  }
}

/** The error for a valid configuration that is not supported. */
export function variant(name: string, value: unknown, why: string): CheckpointError {
  return new CheckpointError(
    "unsupported-variant",
    `config.json: ${name} is ${JSON.stringify(value)}. ${why}; export this model to ONNX and convert the export.`,
    { name, value },
  );
}

import { CheckpointError } from "../formats/errors.ts";
import type { Configuration } from "./configuration.ts";
import type { Building } from "./modules.ts";

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
  readonly hasTokenTypes: boolean;
  /** Weights of the backbone that the graph does not need: buffers, poolers, contact heads. */
  readonly dispensable: RegExp;
  /** Tells whether a checkpoint has a masked language model's head, if its configuration does not. */
  readonly maskedLanguageWeight: string;
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
  for (const name of ["is_decoder", "add_cross_attention"]) {
    if (config.flag(name, false)) throw variant(name, true, "Only encoders are supported");
  }
  const kind = config.text("position_embedding_type", positions[0]!);
  if (!positions.includes(kind)) {
    throw variant("position_embedding_type", kind, `Only ${positions.join(" and ")} positions are supported`);
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

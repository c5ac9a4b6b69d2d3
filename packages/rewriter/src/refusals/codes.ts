/** Why an attention layer stays softmax. Stable; {@link refusalCodes} says what each code means. */
export type RefusalCode =
  | "additive-bias"
  | "alibi"
  | "attention-sink"
  | "block-diagonal"
  | "block-sparse"
  | "content-dependent-bias"
  | "content-sorted"
  | "folded-queries"
  | "key-mask-not-found"
  | "kv-cache"
  | "layout-not-understood"
  | "mask-changes"
  | "mask-from-data"
  | "mask-not-evaluated"
  | "mask-not-understood"
  | "memory-keys"
  | "not-softmax"
  | "packed-sequences"
  | "per-query-mask"
  | "probabilities-are-output"
  | "probabilities-used"
  | "quantized-attention"
  | "query-mask"
  | "relative-position-bias"
  | "rotary-inside"
  | "sliding-window"
  | "soft-capping"
  | "talking-heads"
  | "tied-attention"
  | "top-k"
  | "weighted-keys";

export interface RefusalMeaning {
  /** What Favor found, for any model. The message of a {@link Reason} names the nodes of the model at hand. */
  readonly found: string;
  /** What the user can do. Ends the message of every reason, unless the reason has better advice. */
  readonly remedy: string;
}

const otherPositions = "Use a checkpoint with absolute or rotary positions.";
const otherLayers = "You need not do anything: Favor still converts the layers whose queries attend to every key.";
const withoutFusion = "Export the model without this fusion.";

/** The meaning of every code. `REFUSALS.md` is this table for readers; a test compares the two. */
export const refusalCodes: Readonly<Record<RefusalCode, RefusalMeaning>> = {
  "additive-bias": {
    found: "The logits get a bias that depends on both the query and the key, as in Swin or BEiT.",
    remedy: otherPositions,
  },
  alibi: {
    found:
      "The logits get a bias that is linear in the distance between query and key, but not ALiBi's, which falls by one slope per head.",
    remedy: otherPositions,
  },
  "attention-sink": {
    found: "A fused operator adds a constant to the normaliser (an attention sink).",
    remedy: "Use a checkpoint without attention sinks.",
  },
  "block-diagonal": {
    found: "A query attends only to the keys of its own segment or block.",
    remedy: otherLayers,
  },
  "block-sparse": {
    found: "A fused operator lets a query attend only to some blocks of keys.",
    remedy: otherLayers,
  },
  "content-dependent-bias": {
    found: "The logits get a second term that depends on the content, as in DeBERTa or Transformer-XL.",
    remedy: otherPositions,
  },
  "content-sorted": {
    found: "Sorting or hashing the content decides which keys a query attends to, as in Reformer.",
    remedy: "You need not do anything: this attention is sparse already.",
  },
  "folded-queries": {
    found: "Queries of several heads lie on one axis of positions, and their mask goes by position.",
    remedy:
      "Export the model with the heads on an axis of their own, as torch.onnx.export writes it, or with as many key heads as query heads.",
  },
  "key-mask-not-found": {
    found: "The mask depends on the key alone, but no value of shape [batch, length] in the graph holds it.",
    remedy: "Export the model with one padding mask of shape [batch, length] for all heads.",
  },
  "kv-cache": {
    found: "Keys and values of earlier steps come from a cache that grows with every token.",
    remedy: "Export the model without past_key_values (with optimum: the task without -with-past).",
  },
  "layout-not-understood": {
    found: "Favor cannot tell which axes are batch, heads and positions.",
    remedy: "Try another exporter: torch.onnx.export with dynamo=True, or optimum.",
  },
  "mask-changes": {
    found: "At other lengths, batches or inputs, the mask or the scale differs from that of short inputs.",
    remedy: "Look at what the model does with the length or input that the message names. Favor cannot express it.",
  },
  "mask-from-data": {
    found: "The mask is computed from what the model is fed in a way that Favor cannot prove for all inputs.",
    remedy: "Export the model with a padding mask of zeros and ones, [batch, length], that nothing else changes.",
  },
  "mask-not-evaluated": {
    found: "The mask could not be evaluated: it takes too many operations, or an operator that Favor does not know.",
    remedy:
      "If it takes too many operations, raise maskOperations, or export the model with dynamic axes or for shorter inputs. Otherwise export it in evaluation mode, or with another exporter.",
  },
  "mask-not-understood": {
    found: "The mask of a fused operator has an unknown shape.",
    remedy: withoutFusion,
  },
  "memory-keys": {
    found: "Causal attention has more or fewer keys than queries, because of learned memory keys or a carried state.",
    remedy: "Train or export the model without them.",
  },
  "not-softmax": {
    found: "The part between the two products is not a softmax of the logits.",
    remedy: "Use a checkpoint with plain softmax attention.",
  },
  "packed-sequences": {
    found: "A fused operator works on sequences that are packed without padding.",
    remedy: withoutFusion,
  },
  "per-query-mask": {
    found: "The mask differs from query to query and is neither causal nor padding.",
    remedy: "If the mask is an input of the model, export the model with a mask of the keys alone, [batch, keys].",
  },
  "probabilities-are-output": {
    found: "The attention probabilities or logits are an output of the model or of a fused operator.",
    remedy: "Export the model without output_attentions.",
  },
  "probabilities-used": {
    found: "Another part of the model reads the attention probabilities.",
    remedy: "Export the model without that part: output_attentions, a loss, or a pooling of the probabilities.",
  },
  "quantized-attention": {
    found: "The attention itself is quantised.",
    remedy: "Convert the float model (--dtype fp32 if the checkpoint has both), then quantise the result.",
  },
  "query-mask": {
    found: "The mask hides queries, [batch, 1, length, 1], where a padding mask hides keys.",
    remedy:
      "Export the model from code that masks keys, [batch, 1, 1, length]. KerasHub's ESM masks keys on the torch backend, and queries on TensorFlow and JAX.",
  },
  "relative-position-bias": {
    found: "The logits get a bias that depends on the distance between query and key.",
    remedy: otherPositions,
  },
  "rotary-inside": {
    found: "A fused operator rotates queries and keys itself.",
    remedy: withoutFusion,
  },
  "sliding-window": {
    found:
      "A query attends only to the keys within a window that Favor cannot write: of a fused operator, of no one size, or too wide to be seen.",
    remedy: otherLayers,
  },
  "soft-capping": {
    found: "A tanh caps the logits.",
    remedy: "Use a checkpoint without soft-capping.",
  },
  "talking-heads": {
    found: "Heads are mixed between the two products.",
    remedy: "Use a checkpoint without talking heads.",
  },
  "tied-attention": {
    found: "Several rows share one attention, as in the MSA Transformer.",
    remedy: "Use a checkpoint whose rows each have an attention of their own.",
  },
  "top-k": {
    found: "Only the largest logits of each query are kept.",
    remedy: "Use a checkpoint without top-k attention.",
  },
  "weighted-keys": {
    found: "The mask gives keys weights between 0 and 1 instead of keeping or dropping them.",
    remedy: "Export the model with a mask that keeps or drops each key.",
  },
};

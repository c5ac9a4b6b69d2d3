import { buildModel, type CheckpointTensor } from "@favor/checkpoints";
import { DataType, type ModelProto } from "@favor/onnx";
import { noise } from "./size-model.ts";

const layers = 22;
const hidden = 768;
const intermediate = 1152;
const vocabulary = 50_368;

/** An encoder of ModernBERT-base's shape with random weights: every third layer is global, the others see 64 positions. */
export function modernBert(): ModelProto {
  const weights = new Map<string, CheckpointTensor>();
  const add = (name: string, ...dims: number[]): void => {
    const bytes = 4 * dims.reduce((a, b) => a * b, 1);
    weights.set(name, { dataType: DataType.FLOAT, dims, range: noise(bytes) });
  };
  add("embeddings.tok_embeddings.weight", vocabulary, hidden);
  add("embeddings.norm.weight", hidden);
  for (let layer = 0; layer < layers; layer++) {
    const at = `layers.${layer}`;
    if (layer > 0) add(`${at}.attn_norm.weight`, hidden);
    add(`${at}.attn.Wqkv.weight`, 3 * hidden, hidden);
    add(`${at}.attn.Wo.weight`, hidden, hidden);
    add(`${at}.mlp_norm.weight`, hidden);
    add(`${at}.mlp.Wi.weight`, 2 * intermediate, hidden);
    add(`${at}.mlp.Wo.weight`, hidden, intermediate);
  }
  add("final_norm.weight", hidden);
  const config = {
    model_type: "modernbert",
    architectures: ["ModernBertModel"],
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: 12,
    intermediate_size: intermediate,
    vocab_size: vocabulary,
    max_position_embeddings: 8192,
    hidden_activation: "gelu",
    global_attn_every_n_layers: 3,
    local_attention: 128,
    global_rope_theta: 160_000,
    local_rope_theta: 10_000,
    norm_eps: 1e-5,
    pad_token_id: 50_283,
  };
  return buildModel(config, weights, { task: "feature-extraction" }).model;
}

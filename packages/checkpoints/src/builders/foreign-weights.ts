import { CheckpointError } from "../formats/errors.ts";
import { jsonObject } from "../formats/json.ts";
import type { StateDict } from "../formats/state-dict.ts";
import type { Configuration } from "./configuration.ts";

/** Weights that libraries for quantised models store next to, or in place of, a matrix. */
const quantised: readonly (readonly [names: RegExp, library: string])[] = [
  [
    /\.weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__\w+)$/,
    "bitsandbytes, 4 bits",
  ],
  [/\.(SCB|weight_format)$/, "bitsandbytes, 8 bits"],
  [/\.(qweight|qzeros|g_idx)$/, "GPTQ or AWQ"],
  [/\.(weight_packed|weight_zero_point|weight_shape)$/, "compressed-tensors"],
  [/\.(weight_scale|weight_scale_inv|input_scale)$/, "scaled 8-bit weights"],
  [/\.(W_q|weight\._data|weight\._scale|weight_quantizer\.\w+)$/, "HQQ or Quanto"],
];

/** Weights of adapters that were not merged. */
const adapters =
  /(^|\.)(lora_(A|B|embedding_A|embedding_B|magnitude_vector)|base_layer|ia3_l|oft_[RS]|hada_w[12]_[ab]|modules_to_save)\./;

/**
 * Refuses weights that are no plain state dict of a model: quantised ones and unmerged adapters.
 *
 * @returns a note if the configuration asks to quantise weights that are not quantised in the file.
 * @throws CheckpointError "unsupported-format" naming what they are, and what to do
 */
export function refuseForeign(config: Configuration, weights: StateDict): string[] {
  const names = [...weights.keys()];
  const foreign = names.find((name) => name.includes("/") || /(^|\.)kernel$/.test(name));
  if (foreign !== undefined) {
    throw new CheckpointError(
      "unsupported-format",
      `The weights are named as TensorFlow or Flax names them (${JSON.stringify(foreign)}). Load them in transformers 4 with ` +
        "from_tf=True or from_flax=True, and save the model again.",
      { weight: foreign },
    );
  }
  const adapter = names.find((name) => adapters.test(name));
  if (adapter !== undefined) {
    throw new CheckpointError(
      "unsupported-format",
      `The weights hold an adapter that was not merged (${JSON.stringify(adapter)}). Load the model with PEFT, then call ` +
        "`merge_and_unload().save_pretrained(folder)`, and convert that folder.",
      { weight: adapter },
    );
  }
  const settings = jsonObject(config.raw("quantization_config"));
  for (const [pattern, library] of quantised) {
    const name = names.find((each) => pattern.test(each));
    if (name === undefined) continue;
    const method = settings?.["quant_method"];
    const how = typeof method === "string" ? method : library;
    throw new CheckpointError(
      "unsupported-format",
      `The weights are quantised (${how}: ${JSON.stringify(name)}), which is not supported. Convert the checkpoint that ` +
        "they were made from, or load them in transformers, call `dequantize()` and save the model again.",
      { weight: name, method: how },
    );
  }
  if (settings === undefined) return [];
  return [
    "config.json has a quantization_config, but the weights are not quantised. The graph computes with the weights of the " +
      "file; transformers would quantise them when it loads them.",
  ];
}

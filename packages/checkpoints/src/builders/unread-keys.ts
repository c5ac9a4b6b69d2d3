import type { Configuration } from "./configuration.ts";

/** Keys that do not change what an encoder computes, in any of the supported architectures. */
const harmless: ReadonlySet<string> = new Set(
  [
    // what the checkpoint is, and how it was saved
    "architectures model_type transformers_version _name_or_path name_or_path _commit_hash torch_dtype dtype",
    "use_bfloat16 torchscript tokenizer_class prefix license language problem_type finetuning_task",
    "task_specific_params id2label label2id num_labels _num_labels tf_legacy_loss use_tf xla_device",
    "gradient_checkpointing transformers.js_config name max_seq_length max_seq_len sentence_transformers",
    "sbert_ce_default_activation_function model_max_length vocab_list",
    "esmfold_config tie_weights_ tie_word_embeddings",
    // how attention is computed, not what
    "_attn_implementation attn_implementation _attn_implementation_autoset _attn_implementation_internal",
    "deterministic_flash_attn reference_compile chunk_size_feed_forward use_cache",
    // training
    "hidden_dropout_prob attention_probs_dropout_prob classifier_dropout classifier_dropout_prob dropout",
    "attention_dropout qa_dropout seq_classif_dropout embedding_dropout mlp_dropout summary_last_dropout",
    "summary_first_dropout initializer_range initializer_cutoff_factor sparse_prediction sparse_pred_ignore_index",
    "repad_logits_with_grad sinusoidal_pos_embds",
    // parts that these graphs do not have: poolers of TensorFlow's BERT, summaries for multiple choice
    "directionality pooler_type pooler_fc_size pooler_num_fc_layers pooler_num_attention_heads",
    "pooler_size_per_head summary_type summary_use_proj summary_activation summary_proj_to_labels",
    "down_scale_factor gap_size net_structure_type num_memory_blocks",
    // outputs and generation
    "output_attentions output_hidden_states output_past output_scores return_dict use_return_dict",
    "return_dict_in_generate remove_invalid_values keys_to_ignore_at_inference bos_token_id eos_token_id",
    "sep_token_id cls_token_id unk_token_id mask_token_id pad_token_id decoder_start_token_id forced_bos_token_id",
    "forced_eos_token_id eos_token_ids decoder_bias max_length min_length do_sample early_stopping num_beams",
    "num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty",
    "no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences",
    "exponential_decay_length_penalty suppress_tokens begin_suppress_tokens cross_attention_hidden_size",
  ].flatMap((names) => names.split(" ")),
);

/** Values of keys that say nothing: they are not set, or switched off. */
function isOff(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/**
 * Names the keys of the configuration that the graph does not depend on, unless they are known to change nothing.
 * transformers ignores such keys too; whoever wrote them may have meant another model.
 *
 * @param ignored - keys of the architecture that change nothing as long as they have these values.
 * @returns at most one sentence.
 */
export function unreadKeys(config: Configuration, ignored: Readonly<Record<string, unknown>>): string[] {
  const names = config.unread().filter((name) => {
    const value = config.raw(name);
    return !harmless.has(name) && !isOff(value) && !(Object.hasOwn(ignored, name) && ignored[name] === value);
  });
  if (names.length === 0) return [];
  const shown = names.slice(0, 8).map((name) => `${name} (${JSON.stringify(config.raw(name)).slice(0, 60)})`);
  const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : "";
  const [verb, what, are] = names.length === 1 ? ["is", "it", "it is"] : ["are", "they", "they are"];
  return [
    `${shown.join(", ")}${more} in config.json ${verb} not used: transformers' ${config.text("model_type", "")} has no ` +
      `such setting. Check that ${what} should change nothing, or that ${are} not another name of one that does.`,
  ];
}

import { firstPosition } from "@favor/checkpoints/node";
import type { ModelConfig } from "@favor/checkpoints/node";

import type { SequenceTokenizer } from "../tokens/tokenizer.ts";
import type { RunnerOptions } from "./runner.ts";

/** What a checkpoint's configuration and tokenizer say of its inputs, for `ModelRunner.open`. */
export function runnerOptions(
  config: ModelConfig,
  tokenizer?: Pick<SequenceTokenizer, "padId" | "size">,
): Omit<RunnerOptions, "threads"> {
  return {
    vocabulary: config.vocab_size ?? tokenizer?.size,
    positions: config.max_position_embeddings ?? config.n_positions ?? undefined,
    tokenTypes: config.type_vocab_size ?? undefined,
    padId: tokenizer?.padId ?? config.pad_token_id ?? 0,
    firstPosition: firstPosition(config),
  };
}

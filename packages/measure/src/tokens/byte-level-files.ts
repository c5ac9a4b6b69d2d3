import { InputError } from "@favor/checkpoints";

import { surrounding, type BareVocabulary } from "./vocabulary-file.ts";

/**
 * Byte pair encoding over the bytes of a text, as GPT-2 and RoBERTa have it, from `vocab.json` and `merges.txt`.
 *
 * @param merges - contents of `merges.txt`: a line of version, then a pair of tokens per line.
 * @param isGpt - GPT-2 puts nothing around a text unless its settings ask for it.
 * @throws {InputError} `tokenizer-malformed` for a line that is no pair.
 */
export function byteLevelTokenizer(vocabulary: BareVocabulary, merges: string, isGpt: boolean): object {
  const { settings, tokens, addedTokens, path } = vocabulary;
  const { add_bos_token: withBegin, add_eos_token: withEnd } = settings;
  return {
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: settings.add_prefix_space ?? false, use_regex: true },
    post_processor: isGpt ? surrounding(vocabulary, withBegin ?? false, withEnd ?? false) : surrounding(vocabulary),
    model: { type: "BPE", vocab: Object.fromEntries(tokens), merges: pairsIn(merges, path) },
  };
}

function pairsIn(merges: string, path: string): [string, string][] {
  const pairs: [string, string][] = [];
  for (const [at, line] of merges.split(/\r?\n/).entries()) {
    if (line === "" || line.startsWith("#version")) continue;
    const [left, right, ...rest] = line.split(" ");
    if (left === undefined || left === "" || right === undefined || right === "" || rest.length > 0) {
      throw new InputError(
        `merges.txt next to ${path}: line ${at + 1} is not a pair of tokens. Restore the checkpoint's original file.`,
        { code: "tokenizer-malformed", details: { path, line: at + 1 } },
      );
    }
    pairs.push([left, right]);
  }
  return pairs;
}

import { join } from "node:path";

import { readJson } from "@favor/checkpoints/node";
import { z } from "zod";

import { namedTokens, type TokenizerSettings } from "./special-tokens.ts";
import type { AddedToken } from "./steps/added-tokens.ts";

const limit = 16 * 1024 * 1024;
const idsSchema = z.record(z.string(), z.int().nonnegative());

/**
 * The tokens that transformers adds to a bare vocabulary, in the order of their ids: `added_tokens_decoder` of
 * `tokenizer_config.json`, `added_tokens.json`, and the special tokens that the vocabulary has.
 *
 * @param vocabulary - the tokens of the file.
 * @param specials - special tokens by name or by custom; those that are in no vocabulary are left out.
 */
export async function addedTokensOf(
  folder: string,
  vocabulary: ReadonlyMap<string, number>,
  settings: TokenizerSettings,
  specials: readonly string[],
): Promise<AddedToken[]> {
  const special = new Set([...specials, ...namedTokens(settings)]);
  const added = new Map<string, AddedToken>();
  for (const [id, found] of Object.entries(settings.added_tokens_decoder ?? {})) {
    const { content, special: isSpecial = special.has(content) } = found;
    added.set(content, {
      id: Number(id),
      content,
      single_word: found.single_word ?? false,
      lstrip: found.lstrip ?? false,
      rstrip: found.rstrip ?? false,
      normalized: found.normalized ?? !isSpecial,
      special: isSpecial,
    });
  }
  const others = (await readJson(join(folder, "added_tokens.json"), idsSchema, limit)) ?? {};
  for (const [content, id] of Object.entries(others)) {
    if (added.has(content)) continue;
    added.set(content, { ...plain, normalized: !special.has(content), id, content, special: special.has(content) });
  }
  for (const content of special) {
    const id = vocabulary.get(content);
    if (id !== undefined && !added.has(content)) {
      added.set(content, { ...plain, normalized: false, id, content, special: true });
    }
  }
  return [...added.values()].toSorted((a, b) => a.id - b.id);
}

const plain = { single_word: false, lstrip: false, rstrip: false };

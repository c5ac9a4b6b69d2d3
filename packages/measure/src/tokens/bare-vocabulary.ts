import { join } from "node:path";

import { InputError } from "@favor/checkpoints";
import { readJson, readSmallFile } from "@favor/checkpoints/node";
import { z } from "zod";

import { addedTokensOf } from "./added-tokens-of-settings.ts";
import { byteLevelTokenizer } from "./byte-level-files.ts";
import { fairseqTokenizer, isFairseqTokenizer } from "./fairseq-sentencepiece.ts";
import { readSentencePiece } from "./sentencepiece-file.ts";
import type { TokenizerSettings } from "./special-tokens.ts";
import { saveTokenizer, tokenizerClassOf } from "./tokenizer-class.ts";
import {
  bracketedTokens,
  isPerCharacter,
  readVocabularyLines,
  residueTokenizer,
  roleTokens,
  wordPieceTokenizer,
} from "./vocabulary-file.ts";

/** A tokenizer made from other files than `tokenizer.json`. */
export interface MadeTokenizer {
  readonly path: string;
  /** What `tokenizer.json` would hold. */
  readonly description: object;
  /** Ids of tokens that represent no text, besides the added special ones. */
  readonly specialIds: readonly number[];
}

const limit = 32 * 1024 * 1024;
const idsSchema = z.record(z.string(), z.int().nonnegative());

const fairseqFile = "sentencepiece.bpe.model";

/** Vocabularies that are read by transformers alone, or for some classes only. */
const otherVocabularies = [
  "spiece.model",
  fairseqFile,
  "sentencepiece.model",
  "spm.model",
  "tokenizer.model",
  "bpe.codes",
  "tekken.json",
  "vocab.bpe",
];

/**
 * Makes the tokenizer of a checkpoint without `tokenizer.json`: from `vocab.txt`, `vocab.json` with `merges.txt`, or
 * `sentencepiece.bpe.model` of XLM-RoBERTa and CamemBERT.
 *
 * @throws {InputError} `tokenizer-missing`; `tokenizer-unsupported`, naming the file or the class; `tokenizer-malformed`;
 * `tokenizer-ambiguous`.
 */
export async function tokenizerFromFiles(folder: string, settings: TokenizerSettings): Promise<MadeTokenizer> {
  const other = await firstPresent(folder, otherVocabularies);
  const lines = await readText(folder, "vocab.txt");
  const ids = await readJson(join(folder, "vocab.json"), idsSchema, limit);
  const merges = await readText(folder, "merges.txt");
  if (other === fairseqFile) {
    const named = await tokenizerClassOf(folder, settings);
    if (isFairseqTokenizer(named.name)) {
      const path = join(folder, other);
      const model = readSentencePiece((await readSmallFile(path, 2 * limit))!, path);
      return { path, description: fairseqTokenizer(model, path, named.name, settings), specialIds: [] };
    }
  }
  if (other !== undefined) {
    throw new InputError(
      `${join(folder, other)} is a tokenizer that Favor does not read without tokenizer.json. ${saveTokenizer}`,
      { code: "tokenizer-unsupported", details: { folder, file: other } },
    );
  }
  if (lines === undefined && ids === undefined) {
    throw new InputError(
      `${folder} holds neither tokenizer.json nor vocab.txt, so data cannot be tokenised. Add the ` +
        `checkpoint's tokenizer files, or convert without --calibrate and --evaluate.`,
      { code: "tokenizer-missing", details: { folder } },
    );
  }
  const { name, family } = await tokenizerClassOf(folder, settings);
  const needed =
    family === "byte-level"
      ? ids !== undefined && merges !== undefined
      : lines !== undefined && family !== "sentencepiece";
  if (!needed || (family === undefined && ids !== undefined)) {
    const found = lines === undefined ? "vocab.json" : "vocab.txt";
    throw new InputError(
      `${join(folder, found)} is not the vocabulary of ${name ?? "a tokenizer that the checkpoint names"}. ${saveTokenizer}`,
      { code: "tokenizer-unsupported", details: { folder, file: found, tokenizer: name } },
    );
  }
  const path = join(folder, family === "byte-level" ? "vocab.json" : "vocab.txt");
  const tokens = family === "byte-level" ? new Map(Object.entries(ids!)) : readVocabularyLines(lines!, path);
  const brackets = bracketedTokens(tokens);
  const isResidues = family === "residues" || (family !== "byte-level" && isPerCharacter(tokens));
  const specials = isResidues ? brackets : roleTokens(tokens, settings);
  const addedTokens = await addedTokensOf(folder, tokens, settings, specials);
  const vocabulary = { path, tokens, settings, addedTokens };
  const specialIds = brackets.map((token) => tokens.get(token)!);
  if (family === "byte-level") {
    return { path, description: byteLevelTokenizer(vocabulary, merges!, name === "GPT2Tokenizer"), specialIds };
  }
  if (isResidues) return { path, description: residueTokenizer(vocabulary), specialIds };
  if (family === undefined && ![...tokens.keys()].some((token) => token.startsWith("##"))) {
    throw new InputError(
      `${path} has no tokens that continue a word ("##..."), and nothing says which tokenizer it belongs to. Name its ` +
        `class as "tokenizer_class" in tokenizer_config.json. ${saveTokenizer}`,
      { code: "tokenizer-ambiguous", details: { path } },
    );
  }
  return { path, description: wordPieceTokenizer(vocabulary), specialIds };
}

async function firstPresent(folder: string, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if ((await readSmallFile(join(folder, name), 2 * limit)) !== undefined) return name;
  return undefined;
}

async function readText(folder: string, name: string): Promise<string | undefined> {
  return (await readSmallFile(join(folder, name), limit))?.toString("utf8");
}

import { InputError } from "@favor/checkpoints";

import type { SentencePieceModel } from "./sentencepiece-file.ts";
import type { TokenizerSettings } from "./special-tokens.ts";
import type { AddedToken } from "./steps/added-tokens.ts";
import { saveTokenizer } from "./tokenizer-class.ts";

/**
 * How fairseq's models number pieces: tokens of their own, then the pieces of the file but for the first few, then the mask
 * token.
 */
const layouts = {
  XLMRobertaTokenizer: { own: ["<s>", "<pad>", "</s>", "<unk>"], dropped: 3, isMaskStripping: false },
  CamembertTokenizer: {
    own: ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"],
    dropped: 1,
    isMaskStripping: true,
  },
} as const;

export type FairseqTokenizer = keyof typeof layouts;

/** Whether a class of transformers is one of these. */
export function isFairseqTokenizer(name: string | undefined): name is FairseqTokenizer {
  return name !== undefined && Object.hasOwn(layouts, name);
}

const unknownId = 3;
/** The score of `<unk>NOTUSED`, which is never to be taken. */
const unusedScore = -100;

/**
 * The tokenizer of XLM-RoBERTa or CamemBERT from `sentencepiece.bpe.model` (which, in spite of its name, holds a unigram
 * model), as transformers makes it.
 *
 * @throws {InputError} `tokenizer-unsupported` for other models of SentencePiece, or special tokens of other names.
 */
export function fairseqTokenizer(
  model: SentencePieceModel,
  path: string,
  name: FairseqTokenizer,
  settings: TokenizerSettings,
): object {
  const { own, dropped, isMaskStripping } = layouts[name];
  if (!model.isUnigram || model.hasByteFallback) {
    throw unsupported(path, model.isUnigram ? "is a unigram model with bytes" : "is not a unigram model", name);
  }
  const kept = model.pieces.slice(dropped);
  const vocab: [string, number][] = [
    ...own.map((text): [string, number] => [text, text === "<unk>NOTUSED" ? unusedScore : 0]),
    ...kept.map(({ text, score }): [string, number] => [text, score]),
    ["<mask>", 0],
  ];
  const ids = new Map(vocab.map(([text], id) => [text, id]));
  const idOf = (text: string): number => {
    const id = ids.get(text);
    if (id === undefined) throw unsupported(path, `has no piece ${text}`, name);
    return id;
  };
  for (const [key, usual] of Object.entries(usualNames)) {
    const named = settings[key];
    if (named !== undefined && named !== null && named !== usual && contentOf(named) !== usual) {
      throw unsupported(path, `comes with another ${key} than ${usual}`, name);
    }
  }
  const prefix = settings.add_prefix_space === false ? "never" : "always";
  const given = model.pieces
    .filter(({ type }) => type === 3 || type === 4)
    .map(({ text, type }) => ({ text, special: type === 3 }));
  const specials = ["<s>", "<pad>", "</s>", "<unk>", ...own.filter((text) => text.endsWith("NOTUSED"))];
  const added = new Map<string, AddedToken>();
  const add = (content: string, special: boolean, lstrip = false): void => {
    const flags = { single_word: false, lstrip, rstrip: false, normalized: false, special };
    if (!added.has(content)) added.set(content, { id: idOf(content), content, ...flags });
  };
  add("<mask>", true, isMaskStripping);
  for (const content of specials) add(content, true);
  for (const { text, special } of given) add(text, special);
  return {
    added_tokens: [...added.values()].toSorted((a, b) => a.id - b.id),
    normalizer: model.charsmap === "" ? null : { type: "Precompiled", precompiled_charsmap: model.charsmap },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "WhitespaceSplit" },
        { type: "Metaspace", replacement: "▁", prepend_scheme: prefix, split: true },
      ],
    },
    post_processor: { type: "RobertaProcessing", cls: ["<s>", idOf("<s>")], sep: ["</s>", idOf("</s>")] },
    model: { type: "Unigram", vocab, unk_id: unknownId, byte_fallback: false },
  };
}

const usualNames: Readonly<Record<string, string>> = {
  bos_token: "<s>",
  eos_token: "</s>",
  cls_token: "<s>",
  sep_token: "</s>",
  unk_token: "<unk>",
  pad_token: "<pad>",
  mask_token: "<mask>",
};

function contentOf(token: unknown): unknown {
  return typeof token === "object" && token !== null && "content" in token ? token.content : token;
}

function unsupported(path: string, what: string, name: string): InputError {
  return new InputError(`${path} ${what}, which Favor does not expect of ${name}. ${saveTokenizer}`, {
    code: "tokenizer-unsupported",
    details: { path, tokenizer: name },
  });
}

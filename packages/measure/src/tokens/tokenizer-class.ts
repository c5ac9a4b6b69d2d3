import { join } from "node:path";

import { InputError } from "@favor/checkpoints";
import { readJson } from "@favor/checkpoints/node";
import { z } from "zod";

import type { TokenizerSettings } from "./special-tokens.ts";

/** What a vocabulary without `tokenizer.json` can be made into. */
type TokenizerFamily = "word-piece" | "residues" | "byte-level" | "sentencepiece";

/** Classes of transformers that split words in the same way. Their names may end in "Fast". */
const families: Readonly<Record<TokenizerFamily, readonly string[]>> = {
  "word-piece": [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "ConvBertTokenizer",
    "LayoutLMTokenizer",
    "SqueezeBertTokenizer",
    "RetriBertTokenizer",
    "LxmertTokenizer",
    "FunnelTokenizer",
    "MPNetTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DPRReaderTokenizer",
  ],
  residues: ["EsmTokenizer"],
  sentencepiece: ["XLMRobertaTokenizer", "CamembertTokenizer"],
  "byte-level": ["RobertaTokenizer", "LongformerTokenizer", "BartTokenizer", "MvpTokenizer", "GPT2Tokenizer"],
};

/** The class that transformers takes for a model type if the checkpoint names none. */
const classesOfModels: Readonly<Record<string, string>> = {
  bert: "BertTokenizer",
  distilbert: "DistilBertTokenizer",
  electra: "ElectraTokenizer",
  mobilebert: "MobileBertTokenizer",
  convbert: "ConvBertTokenizer",
  layoutlm: "LayoutLMTokenizer",
  squeezebert: "SqueezeBertTokenizer",
  nomic_bert: "BertTokenizer",
  lxmert: "LxmertTokenizer",
  funnel: "FunnelTokenizer",
  mpnet: "MPNetTokenizer",
  esm: "EsmTokenizer",
  "xlm-roberta": "XLMRobertaTokenizer",
  camembert: "CamembertTokenizer",
  roberta: "RobertaTokenizer",
  longformer: "LongformerTokenizer",
  bart: "BartTokenizer",
  gpt2: "GPT2Tokenizer",
};

const configLimit = 4 * 1024 * 1024;
const configSchema = z.looseObject({ tokenizer_class: z.string().nullish(), model_type: z.string().nullish() });

/** The tokenizer that a checkpoint is meant for. */
export interface TokenizerClass {
  /** As transformers calls it, without "Fast"; undefined if nothing says. */
  readonly name: string | undefined;
  /** Undefined if nothing says which class it is. */
  readonly family: TokenizerFamily | undefined;
}

/**
 * Finds out which tokenizer a checkpoint without `tokenizer.json` is meant for: `tokenizer_class` of its
 * `tokenizer_config.json` or `config.json`, or the usual one of its model type.
 *
 * @throws {InputError} `tokenizer-unsupported` for a class whose words Favor cannot split as transformers does.
 */
export async function tokenizerClassOf(folder: string, settings: TokenizerSettings): Promise<TokenizerClass> {
  const config = (await readJson(join(folder, "config.json"), configSchema, configLimit)) ?? {};
  const type = config.model_type ?? undefined;
  const named = settings.tokenizer_class ?? config.tokenizer_class ?? undefined;
  const name = (named ?? (type === undefined ? undefined : classesOfModels[type]))?.replace(/Fast$/, "");
  if (name === undefined && type === undefined) return { name, family: undefined };
  const family = (["word-piece", "residues", "byte-level", "sentencepiece"] as const).find((each) =>
    families[each].includes(name ?? ""),
  );
  if (family !== undefined) return { name, family };
  const what = name === undefined ? `models of type ${JSON.stringify(type)}` : `the tokenizer ${name}`;
  throw new InputError(
    `${folder} holds no tokenizer.json, and from other files Favor cannot make ${what}. ${saveTokenizer}`,
    { code: "tokenizer-unsupported", details: { folder, tokenizer: name, model: type } },
  );
}

/** What to do for a tokenizer that only transformers knows. */
export const saveTokenizer: string =
  "If a fast version exists, AutoTokenizer.from_pretrained(...).save_pretrained(...) in Python writes tokenizer.json. " +
  "Otherwise convert without --calibrate and --evaluate.";

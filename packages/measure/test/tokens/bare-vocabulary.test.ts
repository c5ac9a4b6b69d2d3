import { readFileSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { textRecord } from "../../src/data/record.ts";
import type { InputError } from "@favor/checkpoints";
import { loadTokenizer } from "../../src/tokens/load-tokenizer.ts";
import { SequenceTokenizer } from "../../src/tokens/tokenizer.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

const fixtures = fileURLToPath(new URL("fixtures", import.meta.url));
const text = (value: string): ReturnType<typeof textRecord> => textRecord(value, 1);

async function folderWith(files: Record<string, string | object>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, contents] of Object.entries(files)) {
    await writeFile(join(folder, name), typeof contents === "string" ? contents : JSON.stringify(contents));
  }
  return folder;
}

describe("handed cases", () => {
  test.each(["vocab-keeps-accents", "tokenizer-normaliser-of-its-own"])("%s: the expected ids", async (name) => {
    const folder = join(fixtures, name);
    const expected = JSON.parse(await readFile(join(folder, "expected.json"), "utf8")) as {
      text: string;
      ids: number[];
    }[];
    const tokenizer = await loadTokenizer(folder);
    expect(expected.length).toBeGreaterThan(0);
    for (const each of expected) expect(tokenizer.encode(text(each.text), "f").ids).toEqual(each.ids);
  });

  test("vocab-of-another-tokenizer: refused by name", async () => {
    await expect(loadTokenizer(join(fixtures, "vocab-of-another-tokenizer"))).rejects.toThrow(
      /from other files Favor cannot make the tokenizer BertJapaneseTokenizer/,
    );
  });

  test("the class may stand in config.json, and a model type stands for its class", async () => {
    const vocabulary = await readFile(join(fixtures, "vocab-keeps-accents", "vocab.txt"), "utf8");
    const files = { "vocab.txt": vocabulary, "tokenizer_config.json": { do_lower_case: true } };
    for (const config of [
      { tokenizer_class: "BertJapaneseTokenizer", model_type: "bert" },
      { model_type: "roformer" },
    ]) {
      await expect(loadTokenizer(await folderWith({ ...files, "config.json": config }))).rejects.toMatchObject({
        code: "tokenizer-unsupported",
      });
    }
    const bert = await loadTokenizer(await folderWith({ ...files, "config.json": { model_type: "bert" } }));
    expect(bert.encode(text("Ich"), "f").ids[0]).toBe(2);
  });
});

interface Case {
  readonly name: string;
  /** Text, or `base64:` and bytes. */
  readonly files: Readonly<Record<string, string>>;
  readonly texts: readonly string[];
  readonly ids: readonly (readonly number[])[];
}

/** Written by tools/conformance/python/tokenizers/vocabulary_files.py --seed 9000 --count 40 --texts 8 --small. */
const random = readFileSync(join(fixtures, "random-vocabularies.jsonl"), "utf8").trim().split("\n");

test("random checkpoints without tokenizer.json, or with other settings, give the ids of transformers", async () => {
  const opened: string[] = [];
  const refused: string[] = [];
  for (const line of random) {
    const { name, files, texts, ids } = JSON.parse(line) as Case;
    const kind = name.split(",")[0]!;
    const folder = await temporaryFolder();
    for (const [file, contents] of Object.entries(files)) {
      const isBinary = contents.startsWith("base64:");
      await writeFile(join(folder, file), isBinary ? Buffer.from(contents.slice(7), "base64") : contents);
    }
    const loaded = await loadTokenizer(folder).catch((error: unknown) => error);
    if (!(loaded instanceof SequenceTokenizer)) {
      refused.push(`${kind}: ${(loaded as InputError).code}`);
      continue;
    }
    opened.push(kind);
    for (const [at, each] of texts.entries()) expect([name, each, loaded.idsOf(each)]).toEqual([name, each, ids[at]]);
  }
  expect(new Set(opened)).toEqual(new Set(["wordpiece", "bytelevel", "unigram", "json"]));
  expect(new Set(refused)).toEqual(new Set(["json: tokenizer-ambiguous", "unigram: tokenizer-unsupported"]));
});

const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[unused1]\nun\n##able\nthe\n東京\n京\n[\n]\nunused1\n";

describe("BERT's settings", () => {
  test("capitals with nothing that says what becomes of them are refused", async () => {
    const files = { "vocab.txt": `${vocabulary}The\n` };
    await expect(loadTokenizer(await folderWith(files))).rejects.toMatchObject({ code: "tokenizer-ambiguous" });
    const cased = await folderWith({ ...files, "tokenizer_config.json": { do_lower_case: false } });
    expect((await loadTokenizer(cased)).encode(text("The the"), "f").ids).toEqual([2, 14, 8, 3]);
  });

  test("tokenize_chinese_chars, and tokens in brackets that are not special", async () => {
    const split = await loadTokenizer(await folderWith({ "vocab.txt": vocabulary }));
    expect(split.encode(text("東京 [unused1] [MASK]"), "f").ids).toEqual([2, 1, 10, 11, 13, 12, 4, 3]);
    const settings = { tokenize_chinese_chars: false };
    const whole = await loadTokenizer(await folderWith({ "vocab.txt": vocabulary, "tokenizer_config.json": settings }));
    expect(whole.encode(text("東京"), "f").ids).toEqual([2, 9, 3]);
  });

  test("added_tokens.json and added_tokens_decoder add tokens after the vocabulary", async () => {
    const files = {
      "vocab.txt": vocabulary,
      "added_tokens.json": { "<drug>": 14 },
      "tokenizer_config.json": {
        added_tokens_decoder: {
          15: { content: "unable", single_word: true, lstrip: false, rstrip: false, normalized: true },
        },
      },
    };
    const tokenizer = await loadTokenizer(await folderWith(files));
    expect(tokenizer.encode(text("the <drug>un Unable unableun"), "f").ids).toEqual([2, 8, 14, 6, 15, 1, 3]);
    expect(tokenizer.size).toBe(16);
  });

  test.each([{ never_split: ["Unable"] }, { do_basic_tokenize: false }])("%j is refused", async (settings) => {
    const files = { "vocab.txt": vocabulary, "tokenizer_config.json": settings };
    await expect(loadTokenizer(await folderWith(files))).rejects.toMatchObject({ code: "tokenizer-unsupported" });
  });
});

describe("byte-level vocabularies", () => {
  const ids = { "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, a: 4, b: 5, Ġ: 6, ab: 7, Ġab: 8, "<mask>": 9 };
  const files = { "vocab.json": ids, "merges.txt": "#version: 0.2\na b\nĠ ab\n" };

  test("RoBERTa's have special tokens around them, GPT-2's do not", async () => {
    const roberta = await loadTokenizer(await folderWith({ ...files, "config.json": { model_type: "roberta" } }));
    expect(roberta.encode(text("ab ab<mask>b"), "f").ids).toEqual([0, 7, 8, 9, 5, 2]);
    const prefixed = { tokenizer_class: "RobertaTokenizerFast", add_prefix_space: true };
    const spaced = await loadTokenizer(await folderWith({ ...files, "tokenizer_config.json": prefixed }));
    expect(spaced.encode(text("ab ab"), "f").ids).toEqual([0, 8, 8, 2]);
    const gpt = await loadTokenizer(await folderWith({ ...files, "config.json": { model_type: "gpt2" } }));
    expect(gpt.encode(text("ab ab"), "f").ids).toEqual([7, 8]);
  });

  test.each([
    ["CLIPTokenizer", files],
    ["HerbertTokenizer", files],
    [undefined, files],
    ["BertTokenizer", files],
    ["RobertaTokenizer", { "vocab.txt": vocabulary }],
    ["XLMRobertaTokenizer", { "vocab.txt": vocabulary }],
    ["MBartTokenizer", { "sentencepiece.bpe.model": "x" }],
    ["AlbertTokenizer", { "spiece.model": "x", "vocab.txt": vocabulary }],
    ["PhobertTokenizer", { "vocab.txt": vocabulary, "bpe.codes": "x" }],
  ])("of %s are refused by name", async (tokenizer_class, contents) => {
    const folder = await folderWith({ ...contents, "tokenizer_config.json": { tokenizer_class } });
    await expect(loadTokenizer(folder)).rejects.toMatchObject({ code: "tokenizer-unsupported" });
  });
});

test("a damaged model of SentencePiece, and one whose special tokens have other names, are refused by name", async () => {
  const files = { "tokenizer_config.json": { tokenizer_class: "XLMRobertaTokenizer" } };
  for (const contents of ["x", "\u0000\u0000\u0000", "", "version https://git-lfs.github.com/spec/v1\n"]) {
    const folder = await folderWith({ ...files, "sentencepiece.bpe.model": contents });
    await expect(loadTokenizer(folder)).rejects.toThrow(/sentencepiece\.bpe\.model is not a model of SentencePiece/);
  }
  const { files: real } = JSON.parse(random.find((line) => line.includes("sentencepiece.bpe.model"))!) as Case;
  const folder = await folderWith({
    "tokenizer_config.json": { tokenizer_class: "XLMRobertaTokenizer", mask_token: "[M]" },
  });
  await writeFile(
    join(folder, "sentencepiece.bpe.model"),
    Buffer.from(real["sentencepiece.bpe.model"]!.slice(7), "base64"),
  );
  await expect(loadTokenizer(folder)).rejects.toThrow("comes with another mask_token than <mask>");
});

describe("tokenizer.json and tokenizer_config.json", () => {
  const own = join(fixtures, "tokenizer-normaliser-of-its-own");
  const json = {
    added_tokens: [],
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: null,
    model: { type: "WordLevel", vocab: { "[UNK]": 0, a: 1, "[": 2, "]": 3, "[SEP]": 4 }, unk_token: "[UNK]" },
  };

  test.each([
    [{ do_lower_case: false }],
    [{ strip_accents: false }],
    [{ tokenize_chinese_chars: false }],
    [{ split_special_tokens: true }],
  ])("that contradict each other are refused: %j", async (settings) => {
    const files = { "tokenizer.json": json, "tokenizer_config.json": settings };
    await expect(loadTokenizer(await folderWith(files))).rejects.toMatchObject({
      code: expect.stringMatching(/tokenizer-(?:ambiguous|unsupported)/) as string,
    });
  });

  test("special tokens around a text that the settings contradict are refused", async () => {
    const plain = { ...json, normalizer: null, post_processor: null };
    const settings = { add_eos_token: true, eos_token: "[SEP]" };
    const files = { "tokenizer.json": plain, "tokenizer_config.json": settings };
    await expect(loadTokenizer(await folderWith(files))).rejects.toThrow(
      '"add_eos_token" of its tokenizer_config.json',
    );
    const around = {
      single: [{ Sequence: { id: "A" } }, { SpecialToken: { id: "E" } }],
      special_tokens: { E: { ids: [4] } },
    };
    const agreeing = { ...plain, post_processor: { type: "TemplateProcessing", pair: [], ...around } };
    const folder = await folderWith({ ...files, "tokenizer.json": agreeing });
    expect((await loadTokenizer(folder)).encode(text("a"), "f").ids).toEqual([1, 4]);
  });

  test("special tokens that only the settings name are found in texts", async () => {
    const files = { "tokenizer.json": json, "tokenizer_config.json": { sep_token: "[SEP]", do_lower_case: true } };
    const tokenizer = await loadTokenizer(await folderWith(files));
    expect(tokenizer.encode(text("A [SEP] a"), "f").ids).toEqual([1, 4, 1]);
  });

  test("an unknown step is refused, naming the file", async () => {
    const folder = await temporaryFolder();
    await cp(own, folder, { recursive: true });
    const description = JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8")) as Record<string, unknown>;
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify({ ...description, normalizer: { type: "Other" } }));
    await expect(loadTokenizer(folder)).rejects.toThrow(
      /tokenizer\.json has the normalizer "Other", for which Favor cannot/,
    );
  });
});

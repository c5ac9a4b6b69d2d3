import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { TokenPipeline } from "../../src/tokens/steps/pipeline.ts";
import { NoTokenError, UnsupportedStep } from "../../src/tokens/steps/step-error.ts";

interface Case {
  readonly name: string;
  readonly tokenizer: Readonly<Record<string, unknown>>;
  readonly texts: readonly string[];
  readonly ids: readonly (readonly number[] | null)[];
}

/** Written by tools/conformance/python/tokenizers/random_tokenizers.py --seed 50000 --count 64 --texts 12 --small. */
const file = fileURLToPath(new URL("fixtures/random-tokenizers.jsonl", import.meta.url));
const cases = readFileSync(file, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);

function idsOf(pipeline: TokenPipeline, text: string): readonly number[] | null {
  try {
    return pipeline.encode(text);
  } catch (error) {
    if (error instanceof NoTokenError) return null;
    throw error;
  }
}

/** The tokenizer, or why it is refused. */
function opened(tokenizer: unknown): TokenPipeline | string {
  try {
    return new TokenPipeline(tokenizer);
  } catch (error) {
    if (error instanceof UnsupportedStep) return error.message;
    throw error;
  }
}

test("random tokenizers of every kind give the ids of the library tokenizers", () => {
  const refused: string[] = [];
  let compared = 0;
  for (const { name, tokenizer, texts, ids } of cases) {
    const pipeline = opened(tokenizer);
    if (typeof pipeline === "string") {
      refused.push(pipeline);
      continue;
    }
    for (const [at, text] of texts.entries()) {
      expect([name, text, idsOf(pipeline, text)]).toEqual([name, text, ids[at]]);
      compared++;
    }
  }
  expect(refused).toEqual([
    'the pre-tokenizer "Metaspace" with the prepend_scheme "first" after a normalizer "Replace"',
  ]);
  expect(compared).toBeGreaterThan(1500);
});

const vocab = { "[UNK]": 0, a: 1, b: 2, "##b": 3, ab: 4 };
const words = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab };

function make(parts: object): TokenPipeline {
  return new TokenPipeline({ added_tokens: [], model: words, ...parts });
}

describe("refuses by name any step that it cannot carry out exactly", () => {
  test.each([
    ["normalizer", { type: "NFKC_Casefold" }, 'the normalizer "NFKC_Casefold"'],
    [
      "normalizer",
      { type: "Precompiled", precompiled_charsmap: "AAAA" },
      "a precompiled character map that is damaged",
    ],
    ["normalizer", { type: "Strip", strip_left: true, strip_right: true, strip_middle: true }, "strip_middle"],
    ["pre_tokenizer", { type: "UnicodeScripts" }, 'the pre-tokenizer "UnicodeScripts"'],
    ["pre_tokenizer", { type: "Split", pattern: { Regex: "\\X" }, behavior: "Isolated", invert: false }, "\\X"],
    [
      "pre_tokenizer",
      { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated", invert: false },
      "cannot be translated",
    ],
    ["pre_tokenizer", { type: "Split", pattern: { String: "a" }, behavior: "Sideways", invert: false }, "behavior"],
    ["post_processor", { type: "Reverse" }, 'the post-processor "Reverse"'],
    ["model", { type: "BPE", vocab, merges: [], dropout: 0.1 }, "a dropout of 0.1, so that ids are random"],
    ["model", { type: "WordPiece", vocab, unk_token: "[UNK]", casing: "title" }, "casing"],
    ["model", { type: "Morphemes", vocab }, 'the model "Morphemes"'],
  ])("%s %j", (part, description, reason) => {
    const open = (): unknown => make({ [part]: description });
    expect(open).toThrow(UnsupportedStep);
    expect(open).toThrow(reason);
  });

  test("added tokens whose ids are not those that the library would give are refused", () => {
    const token = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
    const added = (id: number): object => ({ added_tokens: [{ ...token, id, content: "new" }] });
    expect(make(added(5)).encode("new")).toEqual([5]);
    expect(() => make(added(9))).toThrow('the token "new" has the id 9, where 5 is expected');
    const two = { ...added(5), normalizer: { type: "Lowercase" } };
    const tokens = ["New", "new"].map((content, at) => ({ ...token, id: 5 + at, content, normalized: true }));
    expect(() => make({ ...two, added_tokens: tokens })).toThrow(
      '"new", of which the normalizer makes the same as of "New"',
    );
  });
});

test("files of old versions: no model type, merges as texts, Metaspace with add_prefix_space", () => {
  const old = new TokenPipeline({
    added_tokens: [],
    pre_tokenizer: { type: "Metaspace", replacement: "▁", str_rep: "▁", add_prefix_space: false },
    model: { vocab: { a: 0, b: 1, ab: 2, "▁": 3, "▁ab": 4 }, merges: ["a b", "▁ ab"], dropout: null, unk_token: null },
  });
  expect(old.encode("ab ab")).toEqual([2, 4]);
});

import { z } from "zod";

import { AddedTokenFinder, addedTokenSchema, type AddedToken, type Section } from "./added-tokens.ts";
import { makeModel, type Model } from "./models.ts";
import { makeNormalizer, replacesMoreThanSpaces, type Normalize } from "./normalizers.ts";
import { readSurroundings, type Surroundings } from "./post-processors.ts";
import { precompiledMap } from "./precompiled-map.ts";
import { UnsupportedStep } from "./step-error.ts";
import { makePreTokenizer, prependsToFirst, type Piece, type PreTokenize } from "./pre-tokenizers.ts";

const schema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z.unknown().optional(),
  post_processor: z.unknown().optional(),
  model: z.unknown(),
});

/**
 * A `tokenizer.json` at work, with the ids of the Rust library `tokenizers`: added tokens, normaliser, pre-tokeniser, model,
 * special tokens. The file's truncation and padding are left out, as transformers does.
 */
export class TokenPipeline {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly addedTokens: readonly AddedToken[];
  readonly surroundings: Surroundings;
  readonly unknownId: number | undefined;
  readonly #normalize: Normalize;
  /** Without what character maps remove: the library does not count that at the beginning. */
  readonly #normalizeFirst: Normalize;
  readonly #preTokenize: PreTokenize;
  readonly #model: Model;
  readonly #verbatim: AddedTokenFinder;
  readonly #normalized: AddedTokenFinder;

  /**
   * @param description - the parsed file.
   * @throws {UnsupportedStep} for what would not be carried out exactly; {Error} for a malformed file.
   */
  constructor(description: unknown) {
    const { added_tokens: added, ...file } = schema.parse(description);
    this.#normalize = makeNormalizer(file.normalizer);
    this.#normalizeFirst = makeNormalizer(file.normalizer, (charsmap) => {
      const map = precompiledMap(charsmap);
      return (text) => map(text) || text;
    });
    this.#preTokenize = makePreTokenizer(file.pre_tokenizer);
    if (prependsToFirst(file.pre_tokenizer) && replacesMoreThanSpaces(file.normalizer)) {
      throw new UnsupportedStep(
        'the pre-tokenizer "Metaspace" with the prepend_scheme "first" after a normalizer "Replace"',
      );
    }
    this.#model = makeModel(file.model);
    this.surroundings = readSurroundings(file.post_processor);
    this.addedTokens = added;
    this.unknownId = this.#model.unknownId;
    this.vocabulary = withAdded(this.#model, added);
    this.#verbatim = new AddedTokenFinder(
      added.filter(({ normalized }) => !normalized).map((token) => ({ text: token.content, token })),
    );
    const inNormalized = added.filter(({ normalized }) => normalized);
    const texts = inNormalized.map((token) => ({ text: this.#normalize(token.content), token }));
    checkDistinct(texts);
    this.#normalized = new AddedTokenFinder(texts);
  }

  /**
   * The ids of a text.
   *
   * @throws {NoTokenError} for a text that has no tokens, if there is no unknown token.
   */
  encode(text: string, withSpecialTokens = true): number[] {
    const own = split(this.#verbatim, text).flatMap(({ id, piece }) =>
      id === undefined ? this.#encodeText(piece) : [id],
    );
    return withSpecialTokens ? [...this.surroundings.before, ...own, ...this.surroundings.after] : own;
  }

  #encodeText({ text, isFirst }: Piece): readonly number[] {
    // What a normaliser removes stays a part of the text, which then does not begin with what is left.
    const isBeginning = isFirst && this.#normalizeFirst(text.slice(0, text.codePointAt(0)! > 0xffff ? 2 : 1)) !== "";
    return split(this.#normalized, this.#normalize(text), isBeginning).flatMap(({ id, piece }) =>
      id === undefined ? this.#preTokenize([piece]).flatMap((word) => this.#model.idsOf(word.text)) : [id],
    );
  }
}

function split(finder: AddedTokenFinder, text: string, isFirst = true): { id: Section["id"]; piece: Piece }[] {
  return finder.split(text).map(({ start, end, id }) => ({
    id,
    piece: { text: text.slice(start, end), isFirst: isFirst && start === 0 },
  }));
}

/** Which of several tokens is found where the normaliser makes them one text depends on the library's inner order. */
function checkDistinct(tokens: readonly { readonly text: string; readonly token: AddedToken }[]): void {
  const seen = new Map<string, string>();
  for (const { text, token } of tokens) {
    const other = seen.get(text);
    if (other !== undefined || text === "") {
      const what = other === undefined ? "nothing" : `the same as of ${JSON.stringify(other)}`;
      throw new UnsupportedStep(
        `the added token ${JSON.stringify(token.content)}, of which the normalizer makes ${what}`,
      );
    }
    seen.set(text, token.content);
  }
}

/**
 * The vocabulary with the added tokens. The library numbers added tokens itself, whatever the file says: after the model's
 * tokens, in their order. A file that says otherwise is damaged.
 */
function withAdded({ vocabulary, size }: Model, added: readonly AddedToken[]): Map<string, number> {
  const all = new Map(vocabulary);
  let highest = -1;
  for (const { content, id } of added) {
    const expected = all.get(content) ?? Math.max(size, highest + 1);
    if (id !== expected) {
      throw new Error(`the token ${JSON.stringify(content)} has the id ${id}, where ${expected} is expected`);
    }
    if (!vocabulary.has(content)) highest = Math.max(highest, id);
    all.set(content, id);
  }
  return all;
}

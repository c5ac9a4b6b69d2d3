import { DataType } from "@favor/onnx";
import type { Feed, ValueInfo } from "@favor/onnx-tfjs";
import { inputValues } from "@favor/measure";
import type { Feeding } from "@favor/measure";

import { TuneInputError } from "../errors.ts";

/** How a model is fed with token ids. */
export interface TokenFeedOptions {
  /** What each input means, as proved by `ModelRunner`. */
  readonly feeding: Feeding;
  /** Token id for padding. */
  readonly padId: number;
  /** The first position id. */
  readonly firstPosition: number;
}

/** Makes the feeds of a model that takes token ids: ids, masks, token types and positions. */
export class TokenFeeds {
  /** The length that every sequence must be padded to, or undefined. */
  readonly fixedLength: number | undefined;
  readonly #inputs: readonly ValueInfo[];
  readonly #options: TokenFeedOptions;

  /** @throws {TuneInputError} `inputs-unknown` for an input whose meaning is not proved, or a fixed batch size. */
  constructor(inputs: readonly ValueInfo[], options: TokenFeedOptions) {
    const { feeding } = options;
    this.#options = options;
    this.#inputs = inputs;
    this.fixedLength = feeding.fixedLength;
    for (const { name } of inputs) {
      if (!feeding.inputs.some((input) => input.name === name)) throw unknownInput(name, "not derived from token ids");
      if (feeding.fixedBatch !== undefined) throw unknownInput(name, `fixed to a batch of ${feeding.fixedBatch}`);
    }
  }

  /**
   * Feeds for rows of token ids, padded to `length`.
   *
   * @throws {TuneInputError} `inputs-unknown` if rows are to be padded and nothing hides padding.
   */
  of(rows: readonly (readonly number[])[], length: number): Record<string, Feed> {
    const { feeding, padId, firstPosition } = this.#options;
    if (!feeding.hidesPadding && rows.some((row) => row.length < length)) {
      throw new TuneInputError(
        `The model has no input that hides padding, so sequences of different lengths cannot share a batch. Train with ` +
          `--batch 1, or export the model with a mask.`,
        { code: "inputs-unknown", details: { length } },
      );
    }
    const given = { rows, batch: rows.length, length, padId, firstPosition };
    return Object.fromEntries(
      this.#inputs.map(({ name, dataType }) => {
        const { dims, data } = inputValues(
          feeding.inputs.find((input) => input.name === name)!,
          given,
        );
        return [name, { dims, data: dataType === DataType.FLOAT ? Float32Array.from(data) : Int32Array.from(data) }];
      }),
    );
  }
}

function unknownInput(name: string, what: string): TuneInputError {
  return new TuneInputError(
    `The model's input "${name}" is ${what}. Training needs a model that takes token ids of any number and length: ` +
      `export it with dynamic axes.`,
    { code: "inputs-unknown", details: { name } },
  );
}

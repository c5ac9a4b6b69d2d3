import { DataType } from "@favor/onnx";
import type { Feed, ValueInfo } from "@favor/onnx-tfjs";
import { roleOf, tokenInput } from "@favor/measure";
import type { InputRole, TokenInputOptions } from "@favor/measure";

import { TuneInputError } from "../errors.ts";

export type { TokenInputOptions } from "@favor/measure";

/** Makes the feeds of a model that takes token ids: ids, mask, token types and positions. */
export class TokenFeeds {
  /** The length that every sequence must be padded to, or undefined. */
  readonly fixedLength: number | undefined;
  readonly #inputs: readonly { readonly name: string; readonly role: InputRole; readonly isFloat: boolean }[];
  readonly #options: TokenInputOptions;

  /** @throws {TuneInputError} `inputs-unknown` for an input that cannot be derived from token ids, or a fixed batch size. */
  constructor(inputs: readonly ValueInfo[], options: TokenInputOptions) {
    this.#options = options;
    this.#inputs = inputs.map(({ name, dataType, shape }) => {
      const role = roleOf(name);
      if (role === undefined || (shape !== undefined && shape.length !== 2))
        throw unknownInput(name, "not derived from token ids");
      if (typeof shape?.[0] === "number") throw unknownInput(name, `fixed to a batch of ${shape[0]}`);
      return { name, role, isFloat: dataType === DataType.FLOAT };
    });
    const length = inputs.find(({ name }) => roleOf(name) === "ids")?.shape?.[1];
    this.fixedLength = typeof length === "number" ? length : undefined;
  }

  /** Feeds for rows of token ids, padded to `length`. */
  of(rows: readonly (readonly number[])[], length: number): Record<string, Feed> {
    const dims = [rows.length, length];
    return Object.fromEntries(
      this.#inputs.map(({ name, role, isFloat }) => {
        const data = tokenInput(role, rows, rows.length, length, this.#options);
        return [name, { dims, data: isFloat ? Float32Array.from(data) : data }];
      }),
    );
  }
}

function unknownInput(name: string, what: string): TuneInputError {
  return new TuneInputError(
    `The model's input "${name}" is ${what}. Training needs a model that takes token ids [batch, length] of any size: ` +
      `export it with dynamic axes.`,
    { code: "inputs-unknown", details: { name } },
  );
}

import { ModelFormatError } from "./errors.ts";

/** Limits on the cost of parsing. A file that needs more is refused with the code "limit-exceeded". */
export interface DecodeLimits {
  /** Bytes of the whole file. Default 2 GiB - 1, protobuf's own limit. */
  maxBytes: number;
  /** Depth of nested messages; each nested graph takes three. Default 100, as in protobuf's own libraries. */
  maxDepth: number;
  /** Messages, strings and 64-bit integers (each is an object). Default 8 million. */
  maxObjects: number;
  /** Elements of `floats`, `float_data`, `double_data` and `int32_data`. Default 128 million. */
  maxNumbers: number;
  /** Bytes of one field that must be held in memory (any but weights). Default 256 MiB. */
  maxFieldBytes: number;
}

export const defaultLimits: Readonly<DecodeLimits> = {
  maxBytes: 2 ** 31 - 1,
  maxDepth: 100,
  maxObjects: 2 ** 23,
  maxNumbers: 2 ** 27,
  maxFieldBytes: 2 ** 28,
};

const descriptions: Record<keyof DecodeLimits, string> = {
  maxBytes: "bytes",
  maxDepth: "messages nested in each other",
  maxObjects: "messages, strings and integers",
  maxNumbers: "numbers",
  maxFieldBytes: "bytes in one field",
};

/** Counts the cost while one model is parsed. */
export class Budget {
  readonly #limits: DecodeLimits;
  #objects = 0;
  #numbers = 0;

  constructor(limits: Partial<DecodeLimits>) {
    this.#limits = { ...defaultLimits, ...limits };
  }

  objects(count: number, offset: number): void {
    this.#objects += count;
    this.check("maxObjects", this.#objects, offset);
  }

  numbers(count: number, offset: number): void {
    this.#numbers += count;
    this.check("maxNumbers", this.#numbers, offset);
  }

  /** Throws if `found` is more than the limit; `offset` is the position in the file. */
  check(limit: keyof DecodeLimits, found: number, offset: number): void {
    const most = this.#limits[limit];
    if (found <= most) return;
    const advice =
      limit === "maxBytes"
        ? "Store the weights as external data (onnx.save_model(..., save_as_external_data=True))."
        : `If you trust the file, raise the limit \`${limit}\`.`;
    throw new ModelFormatError(
      "limit-exceeded",
      `The model has ${found} ${descriptions[limit]} at byte ${offset}, more than the limit of ${most}. ${advice}`,
      offset,
    );
  }
}

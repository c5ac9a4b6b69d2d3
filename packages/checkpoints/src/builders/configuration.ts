import { CheckpointError } from "../formats/errors.ts";
import { jsonObject } from "../formats/json.ts";

/** A parsed `config.json`, read value by value. Missing and null values have the architecture's default. */
export class Configuration {
  readonly #values: Readonly<Record<string, unknown>>;

  /** @throws CheckpointError "bad-config" if `values` is not an object */
  constructor(values: unknown) {
    const object = jsonObject(values);
    if (object === undefined) {
      throw new CheckpointError("bad-config", "The configuration (config.json) is not a JSON object. Fetch it again.");
    }
    this.#values = object;
  }

  /** The value in the file. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? (this.#values[name] ?? undefined) : undefined;
  }

  /** A size: an integer from 1 to 2^31 - 1. */
  size(name: string, fallback: number): number {
    return this.#checked(name, fallback, "a positive integer", (value) => isInteger(value) && value > 0);
  }

  /** A number of layers, at most 2000, because the graph has a copy of each. */
  layers(name: string, fallback: number): number {
    return this.#checked(name, fallback, "an integer from 1 to 2000", isLayerCount);
  }

  /** A token's number: an integer from 0 to 2^31 - 1. */
  index(name: string, fallback: number): number {
    return this.#checked(name, fallback, "an integer of at least 0", (value) => isInteger(value) && value >= 0);
  }

  positive(name: string, fallback: number): number {
    return this.#checked(name, fallback, "a positive number", (value) => Number.isFinite(value) && Number(value) > 0);
  }

  flag(name: string, fallback: boolean): boolean {
    return this.#checked(name, fallback, "true or false", (value) => typeof value === "boolean");
  }

  text(name: string, fallback: string): string {
    return this.#checked(name, fallback, "a string", (value) => typeof value === "string");
  }

  /** A list of strings; empty if missing. */
  texts(name: string): readonly string[] {
    return this.#checked<readonly string[]>(name, [], "a list of strings", areTexts);
  }

  /** The number of labels of a classifier: the size of `id2label`, or else `num_labels`, or else 2. */
  labels(): number {
    const names = jsonObject(this.raw("id2label"));
    return names === undefined ? this.size("num_labels", 2) : Object.keys(names).length;
  }

  #checked<T>(name: string, fallback: T, expected: string, isRight: (value: unknown) => boolean): T {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (isRight(value)) return value as T;
    throw new CheckpointError(
      "bad-config",
      `config.json: ${name} should be ${expected}, but is ${JSON.stringify(value)}. Restore the checkpoint's original file.`,
      { name, found: value },
    );
  }
}

function isLayerCount(value: unknown): boolean {
  return isInteger(value) && value > 0 && value <= 2000;
}

function areTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function isInteger(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) < 2 ** 31;
}

import { CheckpointError } from "../formats/errors.ts";
import { jsonObject } from "../formats/json.ts";

/** Other names of a value in `config.json`, by the name that the architecture uses: transformers' `attribute_map`. */
export type Synonyms = Readonly<Record<string, readonly string[]>>;

/**
 * A parsed `config.json`, read value by value. A missing value has the architecture's default. `null` is no value where
 * one is needed, because transformers would not replace it with the default either. The configuration keeps track of
 * which keys were read, so that the others can be named.
 */
export class Configuration {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #synonyms: Synonyms;
  readonly #read: Set<string>;
  readonly #defaults: Set<string>;

  /** @throws CheckpointError "bad-config" if `values` is not an object */
  constructor(values: unknown, synonyms: Synonyms = {}) {
    const object = jsonObject(values);
    if (object === undefined) {
      throw new CheckpointError(
        "bad-config",
        "The configuration (config.json) is not a JSON object. Restore the checkpoint's original file.",
      );
    }
    this.#values = object;
    this.#synonyms = synonyms;
    this.#read = new Set();
    this.#defaults = new Set();
  }

  /** The same file, for an architecture that knows values by several names. */
  withSynonyms(synonyms: Synonyms): Configuration {
    return new Configuration(this.#values, synonyms);
  }

  /**
   * The value in the file, under its name or a synonym; undefined if it is missing or null.
   *
   * @throws CheckpointError "bad-config" if two names have different values
   */
  raw(name: string): unknown {
    return this.#find(name) ?? undefined;
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /** The keys of the file. */
  keys(): string[] {
    return Object.keys(this.#values).filter((name) => this.#values[name] !== undefined);
  }

  /** Keys that nothing has read. */
  unread(): string[] {
    return this.keys().filter((name) => !this.#read.has(name));
  }

  /** Values that the file does not name, so that defaults were taken. */
  defaulted(): string[] {
    return [...this.#defaults];
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

  /** A flag; null is false, as in Python. */
  flag(name: string, fallback: boolean): boolean {
    if (this.#find(name) === null) return false;
    return this.#checked(name, fallback, "true or false", (value) => typeof value === "boolean");
  }

  text(name: string, fallback: string): string {
    return this.#checked(name, fallback, "a string", (value) => typeof value === "string");
  }

  /** A list of strings; empty if missing or null. */
  texts(name: string): readonly string[] {
    if (this.raw(name) === undefined) return [];
    return this.#checked<readonly string[]>(name, [], "a list of strings", areTexts);
  }

  /** The number of labels that the file names: the size of `id2label`, or else `num_labels`; undefined without either. */
  namedLabels(): number | undefined {
    const names = jsonObject(this.raw("id2label"));
    if (names !== undefined) return Object.keys(names).length;
    return this.raw("num_labels") === undefined ? undefined : this.size("num_labels", 2);
  }

  #find(name: string): unknown {
    const given = [name, ...(this.#synonyms[name] ?? [])].filter(
      (each) => Object.hasOwn(this.#values, each) && this.#values[each] !== undefined,
    );
    for (const each of given) this.#read.add(each);
    const [first, ...others] = given;
    if (first === undefined) return undefined;
    const value = this.#values[first];
    const other = others.find((each) => JSON.stringify(this.#values[each]) !== JSON.stringify(value));
    if (other === undefined) return value;
    throw new CheckpointError(
      "bad-config",
      `config.json: ${first} is ${JSON.stringify(value)}, but ${other}, another name of the same value, is ` +
        `${JSON.stringify(this.#values[other])}. Remove the wrong one.`,
      { name: first, other },
    );
  }

  #checked<T>(name: string, fallback: T, expected: string, isRight: (value: unknown) => boolean): T {
    const value = this.#find(name);
    if (value === undefined) {
      this.#defaults.add(name);
      return fallback;
    }
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

import { memoryRange } from "@favor/onnx";
import { DataType } from "@favor/onnx";
import { CheckpointError } from "../formats/errors.ts";
import type { CheckpointTensor, StateDict } from "../formats/state-dict.ts";

/** A weight under the name that the checkpoint has it by. */
export interface NamedTensor {
  readonly name: string;
  readonly tensor: CheckpointTensor;
}

interface Ledger {
  readonly used: Set<string>;
  readonly missing: string[];
}

/** TensorFlow's names of a layer norm's parameters, which old checkpoints (bert-base-uncased) still have. */
const formerNames: readonly (readonly [suffix: string, former: string])[] = [
  [".weight", ".gamma"],
  [".bias", ".beta"],
];

/**
 * The weights of a state dict under a prefix. It keeps account: what was wanted and is not there, and what is there
 * and was not wanted.
 */
export class Weights {
  readonly prefix: string;
  readonly #dict: StateDict;
  readonly #ledger: Ledger;

  constructor(dict: StateDict, prefix = "", ledger: Ledger = { used: new Set(), missing: [] }) {
    this.prefix = prefix;
    this.#dict = dict;
    this.#ledger = ledger;
  }

  /** The weights whose names go on with `name` and a dot; the account is shared. */
  within(name: string): Weights {
    return new Weights(this.#dict, name === "" ? this.prefix : `${this.prefix}${name}.`, this.#ledger);
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /** The shape of a weight, or undefined where there is none; it does not count as used. */
  dims(name: string): readonly number[] | undefined {
    const found = this.#find(name);
    return found === undefined ? undefined : this.#dict.get(found)!.dims;
  }

  /**
   * A weight of the shape `dims`. One that is not there goes on the list of missing ones, and zero bytes are given in
   * its place: {@link requireAll} names all of them at once.
   *
   * @throws CheckpointError "shape-mismatch"
   */
  take(name: string, dims: readonly number[]): NamedTensor {
    const found = this.#find(name);
    if (found === undefined) {
      this.#ledger.missing.push(this.prefix + name);
      const range = memoryRange(new Uint8Array(0));
      return { name: this.prefix + name, tensor: { dataType: DataType.FLOAT, dims, range } };
    }
    this.#ledger.used.add(found);
    const tensor = this.#dict.get(found)!;
    if (tensor.dims.length === dims.length && tensor.dims.every((dim, axis) => dim === dims[axis])) {
      return { name: found, tensor };
    }
    throw new CheckpointError(
      "shape-mismatch",
      `Weight ${JSON.stringify(found)} is [${tensor.dims.join(", ")}]; by config.json it should be ` +
        `[${dims.join(", ")}]. Configuration and weights are of different models: fetch both again.`,
      { weight: found, found: tensor.dims, expected: dims },
    );
  }

  /** Names under this prefix that nothing has taken. */
  unused(): string[] {
    return [...this.#dict.keys()].filter((name) => name.startsWith(this.prefix) && !this.#ledger.used.has(name));
  }

  /** @throws CheckpointError "missing-weights" naming every weight that was wanted and is not there */
  requireAll(): void {
    const { missing } = this.#ledger;
    if (missing.length === 0) return;
    throw new CheckpointError(
      "missing-weights",
      `The checkpoint lacks ${missing.length} weights: ${listed(missing)}. It may be of another architecture than ` +
        "config.json says, made for another task (choose one by `task`), or not whole.",
      { missing },
    );
  }

  #find(name: string): string | undefined {
    const full = this.prefix + name;
    if (this.#dict.has(full)) return full;
    for (const [suffix, former] of formerNames) {
      if (!full.endsWith(suffix)) continue;
      const old = full.slice(0, -suffix.length) + former;
      if (this.#dict.has(old)) return old;
    }
    return undefined;
  }
}

/** The first few of many names, for a message. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, 8).join(", ");
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown;
}

import { memoryRange } from "@favor/onnx";
import { DataType } from "@favor/onnx";
import { CheckpointError } from "../formats/errors.ts";
import type { CheckpointTensor, StateDict } from "../formats/state-dict.ts";
import { chooseTask } from "./task.ts";

/** A weight with its name in the checkpoint. */
export interface NamedTensor {
  readonly name: string;
  readonly tensor: CheckpointTensor;
}

interface Ledger {
  readonly used: Set<string>;
  readonly missing: string[];
}

/** TensorFlow's names of a layer norm's parameters, still used by old checkpoints (bert-base-uncased). */
const formerNames: readonly (readonly [suffix: string, former: string])[] = [
  [".weight", ".gamma"],
  [".bias", ".beta"],
];

/**
 * The weights of a state dict under a prefix. It keeps track of missing weights and of unused ones.
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

  /** The weights whose names continue with `name` and a dot; they are tracked together. */
  within(name: string): Weights {
    return new Weights(this.#dict, name === "" ? this.prefix : `${this.prefix}${name}.`, this.#ledger);
  }

  /** Every name under the prefix, without it. */
  names(): string[] {
    const { prefix } = this;
    return [...this.#dict.keys()].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  /** The shape of a weight, or undefined if it is missing. This does not count as use. */
  dims(name: string): readonly number[] | undefined {
    const found = this.#find(name);
    return found === undefined ? undefined : this.#dict.get(found)!.dims;
  }

  /** The tensor of a weight, or undefined if it is missing. This counts as use. */
  use(name: string): CheckpointTensor | undefined {
    const found = this.#find(name);
    if (found === undefined) return undefined;
    this.#ledger.used.add(found);
    return this.#dict.get(found);
  }

  /**
   * A weight of the shape `dims`. A missing one is recorded and replaced by zeros, so that {@link requireAll} can name all
   * missing weights at once.
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
      `Weight ${JSON.stringify(found)} is [${tensor.dims.join(", ")}]; according to config.json it should be ` +
        `[${dims.join(", ")}].`,
      { weight: found, found: tensor.dims, expected: dims },
    );
  }

  /** Unused names under this prefix. */
  unused(): string[] {
    return [...this.#dict.keys()].filter((name) => name.startsWith(this.prefix) && !this.#ledger.used.has(name));
  }

  /** @throws CheckpointError "missing-weights" naming every missing weight */
  requireAll(): void {
    const { missing } = this.#ledger;
    if (missing.length === 0) return;
    throw new CheckpointError(
      "missing-weights",
      `The checkpoint lacks ${missing.length} weights: ${listed(missing)}. It may have another architecture than ` +
        `config.json says, be made for another task (choose it ${chooseTask}), or be incomplete.`,
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

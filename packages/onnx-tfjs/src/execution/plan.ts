import type { NodeProto } from "@favor/onnx";
import { valuesRead } from "@favor/onnx/graph";
import { OperatorError } from "../errors.ts";

/** A node to run, and the values that no later node reads. */
export interface Step {
  readonly node: NodeProto;
  readonly release: readonly string[];
}

/** The order in which the nodes of a graph run, for each set of wanted and given values. */
export class Plan {
  readonly producers: Map<string, NodeProto> = new Map();
  readonly #reads = new Map<NodeProto, readonly string[]>();
  readonly #cache = new Map<string, readonly Step[]>();

  constructor(nodes: readonly NodeProto[]) {
    for (const node of nodes) {
      for (const output of node.output) if (output !== "") this.producers.set(output, node);
      this.#reads.set(node, [...valuesRead(node)]);
    }
  }

  /** Names that a node reads, its bodies' from outside included. */
  reads(node: NodeProto): readonly string[] {
    return this.#reads.get(node) ?? [];
  }

  /**
   * The nodes that `wanted` depends on, dependencies first, in any order of the file; each value is released
   * after its last reader. A given value is neither computed nor released.
   *
   * @throws OperatorError if the graph has a cycle
   */
  steps(wanted: readonly string[], given: ReadonlySet<string>): readonly Step[] {
    const key = JSON.stringify([wanted, [...given].filter((name) => this.producers.has(name))]);
    let found = this.#cache.get(key);
    if (found === undefined) this.#cache.set(key, (found = this.#release(this.#order(wanted, given), wanted, given)));
    return found;
  }

  #order(wanted: readonly string[], given: ReadonlySet<string>): NodeProto[] {
    const order: NodeProto[] = [];
    const state = new Map<NodeProto, "open" | "done">();
    const producer = (name: string): NodeProto | undefined => (given.has(name) ? undefined : this.producers.get(name));
    const pending = wanted.map(producer).filter((node) => node !== undefined);
    for (let node = pending.at(-1); node !== undefined; node = pending.at(-1)) {
      const missing = state.has(node)
        ? []
        : this.#reads.get(node)!.flatMap((name) => {
            const before = producer(name);
            return before === undefined || state.get(before) === "done" ? [] : [before];
          });
      for (const before of missing) {
        if (before === node || state.get(before) === "open") {
          throw new OperatorError(node, `it depends on itself through "${before.output[0] ?? ""}"`);
        }
      }
      if (missing.length > 0) {
        state.set(node, "open");
        pending.push(...missing);
        continue;
      }
      pending.pop();
      if (state.get(node) === "done") continue;
      state.set(node, "done");
      order.push(node);
    }
    return order;
  }

  #release(order: readonly NodeProto[], wanted: readonly string[], given: ReadonlySet<string>): Step[] {
    const kept = new Set([...wanted, ...given, ""]);
    const releases = order.map((): string[] => []);
    for (let i = order.length - 1; i >= 0; i--) {
      const node = order[i]!;
      for (const name of [...this.#reads.get(node)!, ...node.output]) {
        if (kept.has(name) || !this.producers.has(name)) continue;
        kept.add(name);
        releases[i]!.push(name);
      }
    }
    return order.map((node, i) => ({ node, release: releases[i]! }));
  }
}

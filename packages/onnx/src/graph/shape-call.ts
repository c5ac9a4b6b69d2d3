import { NodeCall } from "../semantics/node-call.ts";
import type { NodeProto } from "../model/proto.ts";
import type { Opsets } from "./graph.ts";
import { ShapeConflict, type ShapeInfo } from "./shape-info.ts";
import { giveUp } from "./unknown.ts";

/** Shapes of a node's outputs, or undefined if they do not follow from what is known. */
export type ShapeFunction = (call: ShapeCall) => readonly (ShapeInfo | undefined)[] | undefined;

/**
 * One node with the facts known about its inputs, null for an input that is unknown. With it, semantics written for
 * values give shapes: facts that do not follow are given up (see `ifKnown`), and sizes that contradict each other are a
 * ShapeConflict.
 */
export class ShapeCall extends NodeCall<ShapeInfo> {
  readonly #opsets: Opsets;

  constructor(node: NodeProto, inputs: readonly (ShapeInfo | null)[], opsets: Opsets) {
    super(node, inputs, opsets);
    this.#opsets = opsets;
  }

  /** The same node with other inputs. */
  on(inputs: readonly (ShapeInfo | null | undefined)[]): ShapeCall {
    return new ShapeCall(
      this.node,
      inputs.map((input) => input ?? null),
      this.#opsets,
    );
  }

  /** An integer input, as a list; undefined if the node leaves it out. */
  integers(index: number): number[] | undefined {
    if ((this.node.input[index] ?? "") === "") return undefined;
    return Array.from(this.inputs[index]?.value?.data ?? giveUp());
  }

  /** A malformed node may still be one that Favor does not know: its shapes are unknown. */
  fail(): never {
    return giveUp();
  }

  override misfit(found: string, sizes: readonly number[] = []): never {
    throw new ShapeConflict(this.node, `cannot run: ${found}`, sizes);
  }
}

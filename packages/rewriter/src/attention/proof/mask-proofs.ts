import { FavorError } from "@favor/core";
import type { AttentionContext } from "../context.ts";
import { proveMask, type MaskProof, type Unproved } from "./mask-proof.ts";
import { RegionStructures } from "./region-structure.ts";
import { OtherSizes } from "./other-sizes.ts";
import type { MaskQuestion } from "./window-proof.ts";

type Proof = MaskProof | Unproved | { readonly error: FavorError };

/** The proofs of one graph: regions of the same structure, as in a model's layers, are proved once. */
export class MaskProofs {
  readonly #structures: RegionStructures;
  readonly #sizes: OtherSizes;
  readonly #known = new Map<string, Proof>();

  constructor(context: AttentionContext) {
    this.#structures = new RegionStructures(context);
    this.#sizes = new OtherSizes(context);
  }

  /** What {@link proveMask} says, or the error by which the region could not be evaluated. */
  of(question: MaskQuestion): Proof {
    const { context, region, labels, batchAt } = question;
    const batches = [batchAt(context.first), context.second && batchAt(context.second)];
    const key = `${this.#structures.keyOf(region, labels)} ${batches.join()}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const proof = prove(question, this.#sizes);
    this.#known.set(key, proof);
    return proof;
  }
}

function prove(question: MaskQuestion, sizes: OtherSizes): Proof {
  try {
    return proveMask(question, sizes);
  } catch (error) {
    if (FavorError.isInstance(error)) return { error };
    throw error;
  }
}

import { FavorError } from "@favor/core";

/** Why a converted model, or an attention of it, cannot be distilled: exit code 3. */
export type DistillErrorCode =
  /** No attention of the converted model has trainable feature maps. */
  | "nothing-to-distil"
  /** Original and converted model import different versions of an operator set. */
  | "opset-differs"
  /** The converted model takes inputs that the original does not have. */
  | "inputs-differ"
  /** An attention's output is not [batch, heads, queries, dim] over the positions of the tokens. */
  | "attention-of-other-shape";

export class DistillError extends FavorError<DistillErrorCode> {}

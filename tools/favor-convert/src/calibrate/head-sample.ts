import type { HeadMoments } from "@favor/core/calibration";

import type { HeadInput } from "./samples.ts";

/** Identifies a head; its features are drawn from the streams with these numbers. */
interface HeadAddress {
  readonly seed: number;
  /** The site's number. */
  readonly layer: number;
  readonly head: number;
}

/** One head's share of what was sampled. */
export interface HeadSample extends HeadAddress {
  readonly inputs: readonly HeadInput[];
  /** Inputs that a fit does not see, on which features are compared. */
  readonly heldOut: readonly HeadInput[];
  readonly moments: HeadMoments;
  readonly causal: boolean;
  /** ALiBi's slope. Default 0: none. */
  readonly slope?: number;
}

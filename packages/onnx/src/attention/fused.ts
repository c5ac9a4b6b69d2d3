import type { NodeProto } from "../model/proto.ts";
import type { AttentionContext } from "./context.ts";
import type { FoundSite } from "./find.ts";

/** An operator that is a whole attention, to be examined like a region of plain operators. */
export interface FusedCandidate {
  readonly node: NodeProto;
  readonly examine: (index: number, layer: number) => FoundSite | undefined;
}

export function fusedCandidates(_context: AttentionContext): FusedCandidate[] {
  return [];
}

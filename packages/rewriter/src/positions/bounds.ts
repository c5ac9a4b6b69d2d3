import type { NodeProto } from "@favor/onnx";
import { countingOf } from "./index-evaluation.ts";
import type { TableAccess } from "./table-access.ts";

/** An axis of a constant that is read one row per token: it bounds the length of the input. */
export interface PositionBound extends TableAccess {
  /** The row of the first token. */
  readonly offset: number;
  /** How many rows an input of `length` tokens reads. */
  readonly rowsRead: (length: number) => number;
}

/**
 * The accesses that read one row after the other, from the same row on and more of them for a longer input.
 *
 * @param shorter all accesses for an input of `lengths[0]` tokens without padding
 * @param longer the same for `lengths[1]`
 */
export function positionBounds(
  shorter: readonly TableAccess[],
  longer: readonly TableAccess[],
  lengths: readonly [number, number],
): PositionBound[] {
  const others = accessIndex(longer);
  return shorter.flatMap((access) => {
    const other = others(access);
    for (const index of access.index) {
      const one = countingOf(index);
      for (const two of other?.index.map(countingOf) ?? []) {
        if (!one || !two || one.offset !== two.offset || two.count <= one.count) continue;
        const perToken = (two.count - one.count) / (lengths[1] - lengths[0]);
        const rowsRead = (length: number): number => Math.ceil(one.count + perToken * (length - lengths[0]));
        return [{ ...access, offset: one.offset, rowsRead }];
      }
    }
    return [];
  });
}

/** Finds the access of the same node, by the same input, to the same axis; the table itself may have been replaced. */
export function accessIndex(accesses: readonly TableAccess[]): (like: TableAccess) => TableAccess | undefined {
  const byNode = new Map<NodeProto, TableAccess[]>();
  for (const access of accesses) byNode.set(access.node, [...(byNode.get(access.node) ?? []), access]);
  return (like) => byNode.get(like.node)?.find(({ slot, axis }) => slot === like.slot && axis === like.axis);
}

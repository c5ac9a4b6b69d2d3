import type { Operand } from "../attention/site.ts";
import { DataType } from "@favor/onnx";
import { columnsOfHeads, fromCanonical, keepKeys, rowsOfHeads, toCanonical } from "./canonical.ts";
import type { EmittedSite } from "../attention/joined-heads.ts";
import type { NodeBuilder } from "@favor/onnx/graph";

/** A site's tensors as every emitter takes them, in float32. */
export interface SiteInputs {
  /** [batch, heads, queries, dim] */
  readonly query: string;
  /** [batch, heads or 1, dim, keys] */
  readonly keyColumns: string;
  /** [batch, heads or 1, keys, valueDim] */
  readonly value: string;
  /** Booleans [batch, heads or 1, 1, keys], or undefined if every key counts. */
  readonly keep: string | undefined;
}

/** Masks that several sites share are read once; one cache serves one conversion. */
export type KeepCache = Map<string, string>;

export function readSite(build: NodeBuilder, site: EmittedSite, keeps: KeepCache): SiteInputs {
  const { heads, keyValueHeads, headDim, valueDim, mask, joinedHeads } = site;
  const float = (operand: Operand, value: string): string =>
    site.dataType === DataType.FLOAT || operand.value === "" ? value : build.cast(value, DataType.FLOAT);
  const read = (operand: Operand, order: typeof rowsOfHeads, count: number, dim: number): string =>
    float(operand, unjoin(build, toCanonical(build, operand, order, { heads: count, dim }), joinedHeads));
  let keep: string | undefined;
  if (mask.keyMask !== undefined) {
    const { value, rule, roles } = mask.keyMask;
    const key = `${value} ${rule} ${joinedHeads}`;
    keep =
      keeps.get(key) ?? unjoin(build, keepKeys(build, mask.keyMask), roles.includes("batch") ? joinedHeads : undefined);
    keeps.set(key, keep);
  }
  return {
    query: read(site.query, rowsOfHeads, heads, headDim),
    keyColumns: read(site.key, columnsOfHeads, foldedHeads(site.key, heads, keyValueHeads), headDim),
    value: read(site.value, rowsOfHeads, foldedHeads(site.value, heads, keyValueHeads), valueDim),
    keep,
  };
}

/** Number of heads in a folded axis: all of them if folded into the batch, those of keys and values in a hidden axis. */
function foldedHeads(operand: Operand, heads: number, keyValueHeads: number): number {
  return operand.roles.includes("batch-head") ? heads : keyValueHeads;
}

/** [heads x batch, 1, ...] to [batch, heads, ...]. */
function unjoin(build: NodeBuilder, value: string, heads: number | undefined): string {
  if (heads === undefined) return value;
  return build.transpose(build.op("Reshape", [value, build.integers([heads, -1, 0, 0])]), [1, 0, 2, 3]);
}

/** Writes [batch, heads, queries, valueDim], float32, as the site's output value. */
export function writeSite(build: NodeBuilder, site: EmittedSite, value: string): void {
  const typed = site.dataType === DataType.FLOAT ? value : build.cast(value, site.dataType);
  const joined =
    site.joinedHeads === undefined
      ? typed
      : build.op("Reshape", [build.transpose(typed, [1, 0, 2, 3]), build.integers([-1, 1, 0, 0])]);
  fromCanonical(build, joined, site.output, { heads: site.heads, dim: site.valueDim });
}

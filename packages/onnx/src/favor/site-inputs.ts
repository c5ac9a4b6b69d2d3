import type { AttentionSite, Operand } from "../attention/site.ts";
import { DataType } from "../model/proto.ts";
import { columnsOfHeads, fromCanonical, keepKeys, rowsOfHeads, toCanonical } from "./canonical.ts";
import type { NodeBuilder } from "./node-builder.ts";

/** A site's tensors as every emitter takes them, in float32. */
export interface SiteInputs {
  /** [batch, heads, queries, dim] */
  readonly query: string;
  /** [batch, heads or 1, dim, keys] */
  readonly keyColumns: string;
  /** [batch, heads or 1, keys, valueDim] */
  readonly value: string;
  /** Booleans [batch, 1, 1, keys], or undefined where every key counts. */
  readonly keep: string | undefined;
}

/** Masks that several sites share are read once; one cache serves one conversion. */
export type KeepCache = Map<string, string>;

export function readSite(build: NodeBuilder, site: AttentionSite, keeps: KeepCache): SiteInputs {
  const { heads, keyValueHeads, headDim, valueDim, mask } = site;
  const float = (operand: Operand, value: string): string =>
    site.dataType === DataType.FLOAT || operand.value === "" ? value : build.cast(value, DataType.FLOAT);
  const read = (operand: Operand, order: typeof rowsOfHeads, count: number, dim: number): string =>
    float(operand, toCanonical(build, operand, order, { heads: count, dim }));
  let keep: string | undefined;
  if (mask.keyMask !== undefined) {
    const key = `${mask.keyMask.value} ${mask.keyMask.rule}`;
    keep = keeps.get(key) ?? keepKeys(build, mask.keyMask);
    keeps.set(key, keep);
  }
  return {
    query: read(site.query, rowsOfHeads, heads, headDim),
    keyColumns: read(site.key, columnsOfHeads, foldedHeads(site.key, heads, keyValueHeads), headDim),
    value: read(site.value, rowsOfHeads, foldedHeads(site.value, heads, keyValueHeads), valueDim),
    keep,
  };
}

/** Heads folded into the batch are always all of them; a hidden axis holds those of keys and values. */
function foldedHeads(operand: Operand, heads: number, keyValueHeads: number): number {
  return operand.roles.includes("batch-head") ? heads : keyValueHeads;
}

/** Writes [batch, heads, queries, valueDim], float32, as the site's output value. */
export function writeSite(build: NodeBuilder, site: AttentionSite, value: string): void {
  const typed = site.dataType === DataType.FLOAT ? value : build.cast(value, site.dataType);
  fromCanonical(build, typed, site.output, { heads: site.heads, dim: site.valueDim });
}

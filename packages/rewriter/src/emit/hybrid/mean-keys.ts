import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { maskedLog } from "../../stateful/log-range.ts";
import { branch } from "../branch.ts";
import { asColumn, padRows, type Blocks } from "./blocks.ts";
import { afterBlocks, piece, type ExactTable, type Keys } from "./exact-table.ts";
import { widenKeys } from "./widened.ts";

/** The most keys, or means of keys, that queries are compared with to choose blocks. */
const mostMeans = 1024;
/** Beyond so many times that length, as many more keys are averaged: 2, 4, 8, at last 16. */
const doublings = [1, 2, 4, 8];

/**
 * What averaged queries are compared with: every key of the blocks; from 1,025 positions on means of 2, 4, 8 or 16
 * consecutive ones that count, so that choosing blocks stays a small part of the whole.
 *
 * @returns k' as columns, [batch, key heads, dim + 8, rows / keys per mean]
 */
export function keyMeans(build: NodeBuilder, { key }: Keys, table: ExactTable, blocks: Blocks, dim: number): string {
  const isLong = build.op("Greater", [blocks.length, build.integers([mostMeans])]);
  return branch(
    build,
    isLong,
    (inner) => inner.transpose(averagedKeys(inner, key, table.inBlocks, blocks, dim), [0, 1, 3, 2]),
    (inner) => inner.transpose(inner.slice(table.keys, 2, 0, -afterBlocks.count * piece), [0, 1, 3, 2]),
    { rank: 4, dataType: DataType.FLOAT },
  );
}

function averagedKeys(
  build: NodeBuilder,
  key: string,
  counts: string | undefined,
  blocks: Blocks,
  dim: number,
): string {
  const bounds = build.integers(doublings.map((more) => more * mostMeans));
  const steps = build.cast(build.op("Greater", [blocks.length, bounds]), DataType.INT64);
  const more = build.reduceSum(build.op("Mul", [steps, build.integers(doublings)]), 0);
  const size = build.op("Add", [more, build.integers([1])]);
  const ones = build.op("Expand", [
    build.scalar(1),
    build.concat([build.integers([1, 1]), blocks.length, build.integers([1])], 0),
  ]);
  const shown = counts === undefined ? key : build.op("Where", [asColumn(build, counts), key, build.scalar(0)]);
  const count = counts === undefined ? ones : asColumn(build, build.cast(counts, DataType.FLOAT));
  const sums = (value: string, width: number): string => {
    const shape = build.concat([build.integers([0, 0, -1]), size, build.integers([width])], 0);
    return build.squeeze(build.reduceSum(build.op("Reshape", [padRows(build, value, blocks), shape]), 3), [3]);
  };
  const number = sums(count, 1);
  const atLeastOne = build.op("Max", [number, build.scalar(1)]);
  const isEmpty = build.op("Less", [number, build.scalar(0.5)]);
  const log = build.op("Where", [isEmpty, build.scalar(maskedLog), build.op("Log", [atLeastOne])]);
  return widenKeys(build, build.op("Div", [sums(shown, dim), atLeastOne]), log);
}

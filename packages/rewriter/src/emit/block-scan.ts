import { createMessage, DataType, type GraphProto } from "@favor/onnx";
import { NodeBuilder } from "@favor/onnx/graph";
import { valueInfo, type BodyValue } from "./body-value.ts";

/** What a block computes: its rows lie on `axis`. */
export interface BlockOutput extends BodyValue {
  readonly axis: number;
  /** The sizes of the axes behind it, if they are always the same. */
  readonly behind?: readonly number[];
}

/** How many rows a block has at most: a number, or `auto`. */
export type BlockSize = number | "auto";

/**
 * Queries per block where nothing else is said. Large blocks are quicker, because each of them reads all keys once. In
 * long inputs, the logits of a block are most of what is held, and small blocks are slower by a few hundredths.
 */
const auto = { short: 256, upTo: 2048, long: 96 } as const;

/** The most queries per block where nothing else is said. */
export const autoBlock = (length: number): number => (length > auto.upTo ? auto.long : auto.short);

/** {@link autoBlock} of a length that is known at run time. */
function autoBlockOf(build: NodeBuilder, length: string): string {
  const isLong = build.op("Greater", [length, build.integers([auto.upTo])]);
  return build.op("Where", [isLong, build.integers([auto.long]), build.integers([auto.short])]);
}

/** Most positions per block of a feed-forward layer: products of fewer rows are slower, those of more no faster. */
export const feedForwardBlock = 512;

/**
 * A Scan over blocks of rows. Of L rows there are n = ceil(L / most) blocks of ceil(L / n), so that up to `most` rows are
 * one block without padding. Where L is no multiple, the last block repeats the last row, and what is made of these is
 * cut off. The body takes the numbers of its rows and reads everything else from the graph around it.
 */
export class BlockScan {
  /** Writes around the Scan. */
  readonly outer: NodeBuilder;
  /** Writes into its body. */
  readonly inner: NodeBuilder;
  /** The numbers of a block's rows, int64 [rows per block], in the body. */
  readonly index: string;
  /** Rows in all, and rows per block: lists of one integer, outside. */
  readonly length: string;
  readonly size: string;
  readonly #body: GraphProto = createMessage("GraphProto", { name: "favor_block" });
  readonly #rows: string;

  /**
   * @param length number of rows, a list of one integer
   * @param most rows per block
   */
  constructor(outer: NodeBuilder, length: string, most: BlockSize) {
    this.outer = outer;
    this.length = length;
    this.inner = new NodeBuilder(outer.graph.body(this.#body), "favor");
    this.index = outer.graph.freshName("favor/block");
    const one = outer.integers([1]);
    const longest = most === "auto" ? autoBlockOf(outer, length) : outer.integers([most]);
    const ceil = (divisor: string): string =>
      outer.op("Div", [outer.op("Add", [length, outer.op("Sub", [divisor, one])]), divisor]);
    const blocks = outer.extreme("Max", [ceil(longest), one]);
    this.size = ceil(blocks);
    const rows = outer.range(outer.op("Mul", [blocks, this.size]));
    const existing = outer.extreme("Min", [rows, outer.op("Sub", [length, one])]);
    this.#rows = outer.op("Reshape", [existing, outer.concat([blocks, this.size], 0)]);
  }

  /** A block's rows of a value from outside that has them on an axis of their own. */
  rowsOf(value: string, axis: number, index: string = this.index): string {
    return this.inner.op("Gather", [value, index], { axis: { int: axis } });
  }

  /**
   * Ends the body with what it computes, and writes the Scan.
   *
   * @param output name of the joined value; default a new one
   * @returns the value with all rows
   */
  finish(value: string, { axis, rank, behind, dataType }: BlockOutput, output?: string): string {
    const { outer: build, inner } = this;
    this.#body.node = [...inner.nodes];
    this.#body.initializer = [...inner.initializers];
    this.#body.input = [valueInfo(this.index, { dataType: DataType.INT64, rank: 1 })];
    this.#body.output = [valueInfo(value, { dataType, rank })];
    inner.graph.reindex();
    const joined = build.op("Scan", [this.#rows], {
      body: { graph: this.#body },
      num_scan_inputs: { int: 1 },
      scan_output_axes: { ints: [axis] },
    });
    const merged = build.op("Reshape", [
      joined,
      behind === undefined
        ? this.#target(joined, axis, rank)
        : build.integers([...Array<number>(axis).fill(0), -1, ...behind]),
    ]);
    const named = output === undefined ? {} : { output };
    // Slice takes its bounds as inputs since opset 10.
    return build.graph.opset >= 10
      ? build.op("Slice", [merged, build.integers([0]), this.length, build.integers([axis])], {}, named)
      : build.op("Gather", [merged, build.range(this.length)], { axis: { int: axis } }, named);
  }

  /** The joined value's shape with blocks and their rows as one axis. */
  #target(joined: string, axis: number, rank: number): string {
    const build = this.outer;
    const shape = build.op("Shape", [joined]);
    const parts = [
      ...(axis > 0 ? [build.slice(shape, 0, 0, axis)] : []),
      build.integers([-1]),
      ...(axis + 1 < rank ? [build.slice(shape, 0, axis + 2, rank + 1)] : []),
    ];
    return parts.length === 1 ? parts[0]! : build.concat(parts, 0);
  }
}

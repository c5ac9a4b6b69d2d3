import { createMessage, DataType, type GraphProto } from "@favor/onnx";
import { NodeBuilder } from "@favor/onnx/graph";
import { valueInfo, type BodyValue } from "./body-value.ts";

/** What a block computes: its rows lie on `axis`. */
export interface BlockOutput extends BodyValue {
  readonly axis: number;
}

/**
 * A Scan over blocks of rows. Of L rows there are n = ceil(L / block) blocks of ceil(L / n), so that up to `block` rows
 * are one block without padding. Where L is no multiple, the last block repeats the last row, and what is made of these
 * is cut off. The body takes the numbers of its rows and reads everything else from the graph around it.
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

  /** @param block the most rows per block */
  constructor(outer: NodeBuilder, length: string, block: number) {
    this.outer = outer;
    this.length = length;
    this.inner = new NodeBuilder(outer.graph.body(this.#body), "favor");
    this.index = outer.graph.freshName("favor/block");
    const one = outer.integers([1]);
    const divided = (value: string, divisor: string, less: string): string =>
      outer.op("Div", [outer.op("Add", [value, less]), divisor]);
    const blocks = outer.extreme("Max", [divided(length, outer.integers([block]), outer.integers([block - 1])), one]);
    this.size = divided(length, blocks, outer.op("Sub", [blocks, one]));
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
  finish(value: string, { axis, rank, dataType }: BlockOutput, output?: string): string {
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
    const shape = build.op("Shape", [joined]);
    const parts = [
      ...(axis > 0 ? [build.slice(shape, 0, 0, axis)] : []),
      build.integers([-1]),
      ...(axis + 1 < rank ? [build.slice(shape, 0, axis + 2, rank + 1)] : []),
    ];
    const merged = build.op("Reshape", [joined, parts.length === 1 ? parts[0]! : build.concat(parts, 0)]);
    const named = output === undefined ? {} : { output };
    // Slice takes its bounds as inputs since opset 10.
    return build.graph.opset >= 10
      ? build.op("Slice", [merged, build.integers([0]), this.length, build.integers([axis])], {}, named)
      : build.op("Gather", [merged, build.range(this.length)], { axis: { int: axis } }, named);
  }
}

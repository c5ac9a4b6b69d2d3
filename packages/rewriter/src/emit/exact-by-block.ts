import { DataType, type NodeProto } from "@favor/onnx";
import { intAttribute, type NodeBuilder } from "@favor/onnx/graph";
import type { AttentionContext } from "../attention/context.ts";
import { branchOutput } from "../attention/rows/copy-rules.ts";
import type { RowProbes } from "../attention/rows/row-probes.ts";
import type { RowPlan, RowSource, RowStep } from "../attention/rows/row-plan.ts";
import { isPlain, keyOfRows, type Rows, type RowSlice } from "../attention/rows/rows.ts";
import { BlockScan, type BlockSize } from "./block-scan.ts";
import { branch } from "./branch.ts";

/** Bounds of a Slice that mean "to the end". */
const toTheEnd = { int64: Number.MAX_SAFE_INTEGER, int32: 2 ** 31 - 1 };

/**
 * Writes an attention's output again by blocks of queries ({@link BlockScan}), or a feed-forward layer's by blocks of
 * positions. The body has the graph's own nodes on the rows of one block: those between the queries and the output. Keys,
 * values and everything else that does not depend on the query are read from outside. Rows that are all the same are
 * computed outside, once.
 *
 * @param most rows per block
 */
export function emitByBlock(build: NodeBuilder, probes: RowProbes, plan: RowPlan, most: BlockSize): void {
  const { context } = probes;
  const { value, axis } = plan.counted;
  const scan = new BlockScan(build, build.dimension(value, axis), most);
  const { node, rows } = plan.output;
  const output = node.output[0]!;
  const { dims, dataType } = context.first.info.get(output)!;
  const made = new BlockWriter(scan, context).write(plan);
  const behind = probes.dims(output)!.map((each) => each.slice(rows.axis + 1));
  const isSteady = behind.every((each) => each.join() === behind[0]!.join());
  scan.finish(made, { axis: rows.axis, rank: dims.length, dataType, ...(isSteady && { behind: behind[0]! }) }, output);
}

class BlockWriter {
  readonly #scan: BlockScan;
  readonly #context: AttentionContext;
  readonly #made = new Map<RowStep, readonly string[]>();
  readonly #picked = new Map<string, string>();
  readonly #indices = new Map<string, string>();

  constructor(scan: BlockScan, context: AttentionContext) {
    this.#scan = scan;
    this.#context = context;
    this.#indices.set("", scan.index);
  }

  /** Returns the output's rows, in the body. */
  write({ steps, output }: RowPlan): string {
    for (const step of steps) this.#made.set(step, this.#written(step));
    return this.#made.get(output)![0]!;
  }

  /** The outputs of a step: in the body, or outside where one row stands for all. */
  #written(step: RowStep): readonly string[] {
    const { outer, inner } = this.#scan;
    const build = step.once ? outer : inner;
    const { node, rows, as, shape } = step;
    const inputs = step.inputs.map((source) => this.#read(source));
    if (shape !== undefined) inputs[shape.input] = this.#resized(inputs[shape.input]!, shape.entry, step);
    if (as === "triangle") return [this.#triangle(node, inputs, rows)];
    if (as === "copy") return inputs;
    if (as === "then_branch" || as === "else_branch") return [this.#branches(step, as, inputs as [string, string])];
    if (as === "unsliced") this.#unslice(inputs, step.inputs[0]!);
    if (node.opType === "CastLike") {
      return [build.cast(inputs[0]!, this.#context.first.info.get(node.output[0]!)!.dataType)];
    }
    const outputs = node.output.map((name) => (name === "" ? "" : build.graph.freshName(`favor/${node.opType}`)));
    build.nodes.push({ ...node, input: inputs, output: outputs, name: outputs[0]! });
    return outputs;
  }

  /** An If that gives rows which were made in one branch, and in the other picks them from all that is computed there. */
  #branches(
    { node, rows }: RowStep,
    taken: "then_branch" | "else_branch",
    [condition, made]: readonly [string, string],
  ): string {
    const { outer, inner } = this.#scan;
    const { first } = this.#context;
    const { dims, dataType } = first.info.get(node.output[0]!)!;
    const index = this.#index(rows.slices);
    const other = branchOutput(node, taken === "then_branch" ? "else_branch" : "then_branch")!;
    const missing = dims.length - first.bodies.get(other.graph)!.get(other.value)!.dims.length;
    const pick = (body: NodeBuilder): string => {
      body.nodes.push(...other.graph.node);
      body.initializers.push(...other.graph.initializer);
      const picked = body.op("Gather", [other.value, index], { axis: { int: rows.axis - missing } });
      return missing === 0
        ? picked
        : body.unsqueeze(
            picked,
            Array.from({ length: missing }, (_, axis) => axis),
          );
    };
    const pass = (body: NodeBuilder): string => body.op("Identity", [made]);
    const [then, otherwise] = taken === "then_branch" ? [pass, pick] : [pick, pass];
    const list = outer.op("Reshape", [condition, outer.integers([1])]);
    return branch(inner, list, then, otherwise, { rank: dims.length, dataType });
  }

  #read(source: RowSource): string {
    if (source.kind === "whole") return source.value;
    if (source.kind === "first") return this.#scan.outer.slice(source.value, source.rows.axis, 0, 1);
    if (source.kind === "made") return this.#made.get(source.step)![source.output]!;
    const { value, rows } = source;
    const key = `${keyOfRows(rows)} ${value}`;
    const known = this.#picked.get(key);
    if (known !== undefined) return known;
    const picked = isPlain(rows)
      ? this.#scan.rowsOf(value, rows.axis, this.#index(rows.slices))
      : this.#pickWithin(value, rows);
    this.#picked.set(key, picked);
    return picked;
  }

  /** The block's rows of a value that has others on the same axis: [.., outer * rows per block * inner, ..]. */
  #pickWithin(value: string, { axis, outer, inner }: Rows): string {
    const { outer: build, inner: body, length, size } = this.#scan;
    const shape = build.op("Shape", [value]);
    const rank = this.#rank(value);
    const before = axis > 0 ? [build.slice(shape, 0, 0, axis)] : [];
    const behind = axis + 1 < rank ? [build.slice(shape, 0, axis + 1, rank)] : [];
    const around = (middle: readonly string[]): string => build.concat([...before, ...middle, ...behind], 0);
    // One of the two may differ from input to input.
    const count = (sizes: readonly number[]): string =>
      build.integers([sizes.every((each) => each === sizes[0]) ? sizes[0]! : -1]);
    const split = build.op("Reshape", [value, around([count(outer), length, count(inner)])]);
    const blockSize = build.op("Mul", [build.op("Div", [build.dimension(value, axis), length]), size]);
    return body.op("Reshape", [this.#scan.rowsOf(split, axis + 1), around([blockSize])]);
  }

  /** The numbers of the block's rows along an axis that was sliced since. */
  #index(slices: readonly RowSlice[]): string {
    const key = slices.map(({ node, entry }) => `${node.output[0]}:${entry}`).join(" ");
    const known = this.#indices.get(key);
    if (known !== undefined) return known;
    const { node, entry, fromEnd, axis } = slices.at(-1)!;
    const { outer: build, inner } = this.#scan;
    const [data = "", starts = "", , , steps = ""] = node.input;
    const long = (value: string): string => build.cast(build.slice(value, 0, entry, entry + 1), DataType.INT64);
    const start = fromEnd ? build.op("Add", [long(starts), build.dimension(data, axis)]) : long(starts);
    const before = this.#index(slices.slice(0, -1));
    const index = inner.op("Add", [steps === "" ? before : inner.op("Mul", [before, long(steps)]), start]);
    this.#indices.set(key, index);
    return index;
  }

  /** A list of sizes of which one becomes that of a block, or 1. */
  #resized(sizes: string, entry: number, { rows, once }: RowStep): string {
    const { outer: build, length, size } = this.#scan;
    const wanted = once ? build.integers([1]) : size;
    if (isPlain(rows)) return this.#replaced(sizes, entry, wanted);
    const own = build.op("Div", [build.slice(sizes, 0, entry, entry + 1), length]);
    return this.#replaced(sizes, entry, build.op("Mul", [own, wanted]));
  }

  /** A list with another number at one place. */
  #replaced(list: string, entry: number, number: string): string {
    const build = this.#scan.outer;
    const { dims, dataType } = this.#context.first.info.get(list)!;
    const count = dims[0]!;
    const typed = dataType === DataType.INT64 ? number : build.cast(number, dataType);
    const before = entry > 0 ? [build.slice(list, 0, 0, entry)] : [];
    const behind = entry + 1 < count ? [build.slice(list, 0, entry + 1, count)] : [];
    return count === 1 ? typed : build.concat([...before, typed, ...behind], 0);
  }

  /** Takes the axis of the rows out of a Slice's bounds: its rows were chosen already. */
  #unslice(inputs: string[], source: RowSource): void {
    const build = this.#scan.outer;
    const rows = source.kind === "made" ? source.step.rows : source.kind === "whole" ? undefined : source.rows;
    const { entry } = rows!.slices.at(-1)!;
    const isLong = this.#context.first.info.get(inputs[1]!)?.dataType !== DataType.INT32;
    const put = (at: number, number: number): void => {
      if ((inputs[at] ?? "") !== "") inputs[at] = this.#replaced(inputs[at]!, entry, build.integers([number]));
    };
    put(1, 0);
    put(2, isLong ? toTheEnd.int64 : toTheEnd.int32);
    put(4, 1);
  }

  /** Trilu of some rows, or some columns, of a matrix. */
  #triangle(node: NodeProto, [value = "", offset = ""]: readonly string[], rows: Rows): string {
    const { outer, inner } = this.#scan;
    const rank = this.#rank(node.output[0]!);
    const areRows = rows.axis === rank - 2;
    const index = this.#index(rows.slices);
    const others = inner.range(inner.dimension(value, areRows ? rank - 1 : rank - 2));
    const [row, column] = areRows ? [index, others] : [others, index];
    const distance = inner.op("Sub", [inner.unsqueeze(column, [0]), inner.unsqueeze(row, [1])]);
    const bound = offset === "" ? outer.integers([0]) : offset;
    // The upper triangle keeps distances from the bound on, the lower those up to it.
    const isDropped = inner.op(intAttribute(node, "upper", 1) === 1 ? "Less" : "Greater", [distance, bound]);
    const zero = outer.cast(outer.scalar(0), this.#context.first.info.get(node.output[0]!)!.dataType);
    return inner.op("Where", [isDropped, zero, value]);
  }

  #rank(value: string): number {
    return this.#context.first.info.get(value)!.dims.length;
  }
}

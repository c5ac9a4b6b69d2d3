import type { GraphProto } from "@favor/onnx";
import { intAttribute, valuesRead } from "@favor/onnx/graph";
import * as tf from "@tensorflow/tfjs-core";

/** A Gather in a body, from a table outside. */
export interface Pick {
  readonly table: string;
  readonly indices: string;
  readonly output: string;
  readonly axis: number;
}

/**
 * The picks of a body from the given tables, and the tables among them that it also reads otherwise, as a whole.
 *
 * @param tables names from outside the body
 */
export function picksOf(
  body: GraphProto,
  tables: ReadonlySet<string>,
): { readonly picks: readonly Pick[]; readonly whole: readonly string[] } {
  const picks: Pick[] = [];
  const whole = new Set(body.output.flatMap(({ name }) => (tables.has(name) ? [name] : [])));
  for (const node of body.node) {
    const [table = "", indices = ""] = node.input;
    const isPick = node.opType === "Gather" && /^(ai\.onnx)?$/.test(node.domain) && tables.has(table);
    if (isPick) picks.push({ table, indices, output: node.output[0]!, axis: intAttribute(node, "axis", 0) });
    for (const name of valuesRead(node)) if (tables.has(name) && !(isPick && name === table)) whole.add(name);
  }
  return { picks, whole: [...whole] };
}

/** Parts are summed when they are together so many times as large as their table. */
const mostHeld = 2;

interface Held {
  readonly pick: Pick;
  readonly shape: readonly number[];
  readonly axis: number;
  rows: Int32Array[];
  gradients: tf.Tensor[];
  size: number;
}

/** The gradients of tables, collected by rows as steps pick them. */
export class PickedGradients {
  readonly #held = new Map<Pick, Held>();
  readonly #add: (table: string, gradient: tf.Tensor) => void;

  /** @param add takes a share of a table's gradient, in the table's shape */
  constructor(add: (table: string, gradient: tf.Tensor) => void) {
    this.#add = add;
  }

  /** Takes over the gradient of what a pick gave from a table of that shape. */
  add(pick: Pick, shape: readonly number[], rows: Int32Array, gradient: tf.Tensor): void {
    const axis = pick.axis < 0 ? pick.axis + shape.length : pick.axis;
    const held = this.#held.get(pick) ?? { pick, shape, axis, rows: [], gradients: [], size: 0 };
    this.#held.set(pick, held);
    const length = shape[axis]!;
    held.rows.push(rows.map((row) => (row < 0 ? row + length : row)));
    held.gradients.push(tf.reshape(gradient, [...shape.slice(0, axis), rows.length, ...shape.slice(axis + 1)]));
    gradient.dispose();
    held.size += gradient.size;
    if (held.size >= mostHeld * tf.util.sizeFromShape([...shape])) this.#sum(held);
  }

  finish(): void {
    for (const held of this.#held.values()) if (held.gradients.length > 0) this.#sum(held);
  }

  #sum(held: Held): void {
    const { pick, shape, axis } = held;
    const sum = tf.tidy(() =>
      sumByRows(
        tf.concat(held.gradients, axis),
        held.rows.flatMap((rows) => [...rows]),
        shape,
        axis,
      ),
    );
    tf.dispose(held.gradients);
    Object.assign(held, { rows: [], gradients: [], size: 0 });
    this.#add(pick.table, sum);
  }
}

/** Adds what belongs to equal rows along an axis: `[..., rows.length, ...]` to a table's shape. */
function sumByRows(x: tf.Tensor, rows: readonly number[], shape: readonly number[], axis: number): tf.Tensor {
  const length = shape[axis]!;
  if (rows.length === length && rows.every((row, i) => row === i)) return tf.clone(x);
  const before = tf.util.sizeFromShape(shape.slice(0, axis));
  const after = tf.util.sizeFromShape(shape.slice(axis + 1));
  const split = tf.reshape(x, [before, rows.length, after]);
  const rowsFirst =
    before === 1
      ? tf.reshape(split, [rows.length, after])
      : tf.reshape(tf.transpose(split, [1, 0, 2]), [rows.length, before * after]);
  const sums = tf.unsortedSegmentSum(rowsFirst, tf.tensor1d(Int32Array.from(rows), "int32"), length);
  const back = before === 1 ? sums : tf.transpose(tf.reshape(sums, [length, before, after]), [1, 0, 2]);
  return tf.reshape(back, [...shape]);
}

import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall } from "../operator-call.ts";

/** Where {@link rotate} takes its angles, and which feature belongs to which. */
export interface RotaryForm {
  /** `[rows, r / 2]`, or `[batch, length, r / 2]` without positions */
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
  /** Row of the tables for each token, int32 `[batch or 1, length]`; null: the tables are in the tokens' order. */
  readonly positions: tf.Tensor | null;
  /** Neighbours are a pair, instead of the two halves of the rotated features. */
  readonly interleaved: boolean;
}

/** Rotates pairs of the first r features of `[batch, heads, length, dim]` by their position's angle (2104.09864, eq. 34). */
export function rotate(call: OperatorCall, source: tf.Tensor4D, form: RotaryForm): tf.Tensor4D {
  const width = source.shape[3];
  const half = form.cos.shape.at(-1) ?? 0;
  if (2 * half > width || !tf.util.arraysEqual(form.cos.shape, form.sin.shape)) {
    call.fail(`tables of shape ${shown(form.cos.shape)} do not fit heads of ${width}`);
  }
  const [cos, sin] = [form.cos, form.sin].map((table) => tf.expandDims(anglesOf(call, table, form, source), 1));
  const [first, second] = form.interleaved ? neighbours(source, half) : halves(source, half);
  const rotated = [
    tf.sub(tf.mul(first, cos!), tf.mul(second, sin!)),
    tf.add(tf.mul(first, sin!), tf.mul(second, cos!)),
  ];
  const joined = form.interleaved
    ? tf.reshape(tf.stack(rotated, -1), [...source.shape.slice(0, 3), 2 * half])
    : tf.concat(rotated, 3);
  if (2 * half === width) return joined as tf.Tensor4D;
  return tf.concat([joined, part(source, 2 * half, width - 2 * half)], 3) as tf.Tensor4D;
}

/** cos or sin for each token, `[batch or 1, length, half]`. */
function anglesOf(call: OperatorCall, table: tf.Tensor, { positions }: RotaryForm, source: tf.Tensor4D): tf.Tensor {
  const length = source.shape[2];
  if (positions !== null) return tf.gather(table, positions);
  const rows = table.rank === 2 ? tf.expandDims(table, 0) : table;
  if (rows.rank !== 3 || rows.shape[1] !== length) {
    call.fail(`tables of shape ${shown(table.shape)} do not fit ${length} tokens`);
  }
  return rows;
}

function part(source: tf.Tensor4D, start: number, size: number): tf.Tensor4D {
  const [batch, heads, length] = source.shape;
  return tf.slice(source, [0, 0, 0, start], [batch, heads, length, size]);
}

const halves = (source: tf.Tensor4D, half: number): [tf.Tensor, tf.Tensor] => [
  part(source, 0, half),
  part(source, half, half),
];

function neighbours(source: tf.Tensor4D, half: number): [tf.Tensor, tf.Tensor] {
  const pairs = tf.reshape(part(source, 0, 2 * half), [...source.shape.slice(0, 3), half, 2]);
  return tf.unstack(pairs, 4) as [tf.Tensor, tf.Tensor];
}

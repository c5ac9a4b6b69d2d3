import * as tf from "@tensorflow/tfjs-core";

/** An operand with a label for each of its axes. */
interface Labelled {
  readonly x: tf.Tensor;
  readonly labels: readonly number[];
}

/**
 * Einsum on wasm, which lacks it, for one or two operands as tfjs defines it (no ellipsis, no label twice in a term).
 * Sums over labels that only one operand has, then takes one batched matrix product.
 */
export const einsum: tf.KernelFunc = ({ inputs, attrs }) => {
  const operands = Object.values(inputs) as tf.Tensor[];
  const { equation } = attrs as { equation: string };
  const { allDims, summedDims, idDims } = tf.backend_util.decodeEinsumEquation(equation, operands.length);
  tf.backend_util.checkEinsumDimSizes(allDims.length, idDims, operands);
  const dtype = operands[0]!.dtype;
  return tf.tidy(() => {
    const terms = operands.map((x, i): Labelled => {
      const labels = idDims[i]!;
      const elsewhere = new Set(idDims.filter((_, other) => other !== i).flat());
      return summed({ x: tf.cast(x, "float32"), labels }, new Set(summedDims.filter((label) => !elsewhere.has(label))));
    });
    const joined = terms.length === 1 ? terms[0]! : contracted(terms[0]!, terms[1]!, new Set(summedDims));
    const order = allDims.map((_, label) => label).filter((label) => !summedDims.includes(label));
    return tf.cast(arranged(joined, order), dtype);
  });
};

function summed({ x, labels }: Labelled, over: ReadonlySet<number>): Labelled {
  const axes = [...labels.keys()].filter((axis) => over.has(labels[axis]!));
  if (axes.length === 0) return { x, labels };
  return { x: tf.sum(x, axes), labels: labels.filter((label) => !over.has(label)) };
}

/** The axes of x in the order of `labels`, all of its own. */
function arranged({ x, labels }: Labelled, order: readonly number[]): tf.Tensor {
  if (order.every((label, axis) => label === labels[axis])) return x;
  return tf.transpose(
    x,
    order.map((label) => labels.indexOf(label)),
  );
}

/** The product over labels that both have, summed over those in `over`: `[shared..., left..., right...]`. */
function contracted(left: Labelled, right: Labelled, over: ReadonlySet<number>): Labelled {
  const both = left.labels.filter((label) => right.labels.includes(label));
  const inner = both.filter((label) => over.has(label));
  const batch = both.filter((label) => !over.has(label));
  const rows = left.labels.filter((label) => !both.includes(label));
  const columns = right.labels.filter((label) => !both.includes(label));
  const sizes = (labelled: Labelled, labels: readonly number[]): number[] =>
    labels.map((label) => labelled.x.shape[labelled.labels.indexOf(label)]!);
  const { sizeFromShape: count } = tf.util;
  const [batches, depth] = [sizes(left, batch), count(sizes(left, inner))];
  const [rowSizes, columnSizes] = [sizes(left, rows), sizes(right, columns)];
  const a = tf.reshape(arranged(left, [...batch, ...rows, ...inner]), [count(batches), count(rowSizes), depth]);
  const b = tf.reshape(arranged(right, [...batch, ...inner, ...columns]), [count(batches), depth, count(columnSizes)]);
  const product = tf.matMul(a, b);
  return {
    x: tf.reshape(product, [...batches, ...rowSizes, ...columnSizes]),
    labels: [...batch, ...rows, ...columns],
  };
}

import { equationOf } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import type { Operator } from "../operator-call.ts";
import { definedProduct } from "./defined-product.ts";
import { transposed } from "./layout.ts";

/** A tensor with one label per axis. */
interface Term {
  readonly labels: readonly string[];
  readonly tensor: tf.Tensor;
}

/**
 * Sums of products over labelled indices, any number of operands, repeated labels and ellipses: two operands at a time
 * by transposing, reshaping and one batched product, each of which tfjs can differentiate.
 */
export const einsum: Operator = (call) => {
  const operands = call.inputs.map((_, i) => call.device(i));
  const equation = equationOf(
    call,
    operands.map(({ shape }) => shape),
  );
  const { output, sizes } = equation;
  const terms = operands.map((tensor, i) => squeezed(diagonal({ labels: equation.terms[i]!, tensor }), sizes));
  let result = terms[0]!;
  for (const [i, term] of terms.entries()) {
    if (i === 0) continue;
    const later = new Set([...output, ...terms.slice(i + 1).flatMap(({ labels }) => labels)]);
    result = contract(
      summed(result, new Set([...later, ...term.labels])),
      summed(term, new Set([...later, ...result.labels])),
      later,
    );
  }
  result = summed(result, new Set(output));
  const order = output.filter((label) => result.labels.includes(label));
  const moved = transposed(
    result.tensor,
    order.map((label) => result.labels.indexOf(label)),
  );
  // A label whose every axis is of 1 was squeezed out.
  const dims = output.map((label) => (order.includes(label) ? result.tensor.shape[result.labels.indexOf(label)]! : 1));
  return [tf.reshape(moved, dims)];
};

/** The diagonal of every pair of axes with one label, which is last then. */
function diagonal({ labels, tensor }: Term): Term {
  const second = labels.findIndex((label, i) => labels.indexOf(label) < i);
  if (second < 0) return { labels, tensor };
  const first = labels.indexOf(labels[second]!);
  const rest = labels.map((_, i) => i).filter((i) => i !== first && i !== second);
  const size = tensor.shape[first]!;
  const moved = transposed(tensor, [...rest, first, second]);
  const outer = rest.map((i) => tensor.shape[i]!);
  const flat = tf.reshape(moved, [tf.util.sizeFromShape(outer), size * tensor.shape[second]!]);
  const picked = tf.gather(
    flat,
    tf.tensor1d(
      Array.from({ length: size }, (_, i) => i * (size + 1)),
      "int32",
    ),
    1,
  );
  return diagonal({
    labels: [...rest.map((i) => labels[i]!), labels[first]!],
    tensor: tf.reshape(picked, [...outer, size]),
  });
}

/** An axis of 1 that another operand has longer broadcasts: without it the label is the other's alone. */
function squeezed({ labels, tensor }: Term, sizes: ReadonlyMap<string, number>): Term {
  const kept = labels.filter((label, i) => tensor.shape[i] === sizes.get(label));
  return {
    labels: kept,
    tensor: tf.reshape(
      tensor,
      kept.map((label) => sizes.get(label)!),
    ),
  };
}

/** The term summed over the labels that are not in `needed`. */
function summed({ labels, tensor }: Term, needed: ReadonlySet<string>): Term {
  const axes = labels.flatMap((label, i) => (needed.has(label) ? [] : [i]));
  if (axes.length === 0) return { labels, tensor };
  return { labels: labels.filter((label) => needed.has(label)), tensor: tf.sum(tensor, axes) };
}

/** The product of two terms, summed over the labels that both have and nothing later needs. */
function contract(a: Term, b: Term, later: ReadonlySet<string>): Term {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const batch = shared.filter((label) => later.has(label));
  const inner = shared.filter((label) => !later.has(label));
  const onlyA = a.labels.filter((label) => !shared.includes(label));
  const onlyB = b.labels.filter((label) => !shared.includes(label));
  const sizeIn = (term: Term, labels: readonly string[]): number[] =>
    labels.map((label) => term.tensor.shape[term.labels.indexOf(label)]!);
  const arranged = (term: Term, groups: readonly (readonly string[])[]): tf.Tensor => {
    const order = groups.flat().map((label) => term.labels.indexOf(label));
    return tf.reshape(
      transposed(term.tensor, order),
      groups.map((labels) => tf.util.sizeFromShape(sizeIn(term, labels))),
    );
  };
  const labels = [...batch, ...onlyA, ...onlyB];
  const dims = [...sizeIn(a, batch), ...sizeIn(a, onlyA), ...sizeIn(b, onlyB)];
  const left = arranged(a, batch.length === 0 ? [onlyA, inner] : [batch, onlyA, inner]);
  const right = arranged(b, batch.length === 0 ? [inner, onlyB] : [batch, inner, onlyB]);
  // A product over an axis of 1 is an outer product: cheaper elementwise.
  const tensor = inner.length === 0 ? tf.mul(left, right) : definedProduct(left, right);
  return { labels, tensor: tf.reshape(tensor, dims) };
}

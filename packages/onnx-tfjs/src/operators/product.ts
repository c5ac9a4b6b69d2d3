import { matrixProduct } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import type { Operator, OperatorCall, OperatorTable } from "../operator-call.ts";
import { definedProduct } from "./defined-product.ts";
import { einsum } from "./einsum.ts";
import { expanded } from "./shape.ts";
import { runsOf, sharedProduct } from "./shared-product.ts";

/** Which operands have their last two axes exchanged. */
interface Transposed {
  readonly a?: boolean;
  readonly b?: boolean;
}

/**
 * numpy's matmul: batches broadcast, vectors count as one row or column, which the result then lacks. Matrices of one
 * operand that all or part of the batch shares are multiplied by all of it at once ({@link sharedProduct}); where both
 * operands broadcast, they do so before the product, because tfjs cannot differentiate it otherwise.
 */
function matmul(call: OperatorCall, a: tf.Tensor, b: tf.Tensor, transposed: Transposed = {}): tf.Tensor {
  const left = a.rank === 1 ? tf.reshape(a, [1, a.size]) : a;
  const right = b.rank === 1 ? tf.reshape(b, [b.size, 1]) : b;
  const [transposeA, transposeB] = [a.rank > 1 && transposed.a === true, b.rank > 1 && transposed.b === true];
  const { batch, dims } = matrixProduct(call, factorDims(a, transposeA), factorDims(b, transposeB));
  const [batchA, batchB] = [left.shape.slice(0, -2), right.shape.slice(0, -2)];
  const [runsA, runsB] = [runsOf(batch, batchA), runsOf(batch, batchB)];
  const [sharedA, sharedB] = [runsA, runsB].map((runs) => runs.some(({ shared }) => shared));
  if (sharedA !== sharedB) {
    const [leftOperand, rightOperand] = [
      { x: left, transposed: transposeA },
      { x: right, transposed: transposeB },
    ];
    const product = sharedB
      ? sharedProduct(leftOperand, { ...rightOperand, left: false }, runsB)
      : sharedProduct(rightOperand, { ...leftOperand, left: true }, runsA);
    return tf.reshape(product, dims);
  }
  const items = tf.util.sizeFromShape(batch);
  const batched = (x: tf.Tensor): tf.Tensor =>
    tf.reshape(expanded(x, [...batch, ...x.shape.slice(-2)]), [items, ...x.shape.slice(-2)]);
  return tf.reshape(definedProduct(batched(left), batched(right), transposeA, transposeB), dims);
}

function factorDims({ shape }: tf.Tensor, transpose: boolean): number[] {
  return transpose ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : shape;
}

const matMul: Operator = (call) => [matmul(call, call.device(0), call.device(1))];

/** alpha A' B' + beta C */
const gemm: Operator = (call) => {
  const [a, b] = [call.device(0), call.device(1)];
  if (a.rank !== 2 || b.rank !== 2) call.fail("its operands must be matrices");
  const product = scaled(
    matmul(call, a, b, { a: call.int("transA", 0) !== 0, b: call.int("transB", 0) !== 0 }),
    call.float("alpha", 1),
  );
  const c = call.optionalDevice(2);
  return [c === null ? product : tf.add(product, scaled(c, call.float("beta", 1)))];
};

function scaled(x: tf.Tensor, factor: number): tf.Tensor {
  return factor === 1 ? x : tf.mul(x, factor);
}

/** com.microsoft.FusedMatMul: alpha A' B'; transBatchA and transBatchB move the first axis before the last one. */
const fusedMatMul: Operator = (call) => {
  const operand = (index: number, attribute: string): tf.Tensor => {
    const x = call.device(index);
    if (call.int(attribute, 0) === 0) return x;
    const axes = x.shape.map((_, i) => i);
    return tf.transpose(x, [...axes.slice(1, -1), 0, ...axes.slice(-1)]);
  };
  const product = matmul(call, operand(0, "transBatchA"), operand(1, "transBatchB"), {
    a: call.int("transA", 0) !== 0,
    b: call.int("transB", 0) !== 0,
  });
  return [scaled(product, call.float("alpha", 1))];
};

/** Products of matrices, and Einstein sums. */
export const productOperators: OperatorTable = { MatMul: matMul, Gemm: gemm, Einsum: einsum };

/** Products in the domain com.microsoft. */
export const microsoftProductOperators: OperatorTable = { FusedMatMul: fusedMatMul, TransposeMatMul: fusedMatMul };

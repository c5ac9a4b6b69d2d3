import { DataType } from "../../model/proto.ts";
import { equationOf } from "../../semantics/equation.ts";
import { broadcastDims, matrixProduct, type MatrixProduct } from "../../semantics/shapes.ts";
import { markInexact, type OperatorCall, type OperatorTable } from "../call.ts";
import { broadcastPositions, broadcastStrides, computed, stridedPositions } from "../positions.ts";
import { elementCount, type Tensor, type TensorData } from "../tensor.ts";
import { transposed } from "./layout.ts";

/** A row-major matrix in an array of several matrices. */
interface MatrixAt {
  readonly data: TensorData;
  readonly at: number;
}

/** out[rows, columns] = scale * a[rows, inner] b[inner, columns], summed in float64. */
function multiplyMatrices(
  call: OperatorCall,
  { rows, inner, columns }: MatrixProduct,
  { a, b, out, scale }: { a: MatrixAt; b: MatrixAt; out: MatrixAt; scale: number },
): void {
  call.operations(rows * inner * columns);
  const sums = new Float64Array(columns);
  const [left, right, made] = [a.data, b.data, out.data];
  for (let i = 0; i < rows; i++) {
    sums.fill(0);
    for (let l = 0; l < inner; l++) {
      const factor = left[a.at + i * inner + l]!;
      // Not skipped where the factor is 0: 0 * Infinity is NaN.
      const start = b.at + l * columns;
      for (let j = 0; j < columns; j++) sums[j]! += factor * right[start + j]!;
    }
    for (let j = 0; j < columns; j++) made[out.at + i * columns + j] = scale * sums[j]!;
  }
}

/** numpy's matmul: batches broadcast, vectors count as one row or column, which the result then lacks. */
export function matmul(call: OperatorCall, a: Tensor, b: Tensor, dataType: number, scale: number = 1): Tensor {
  const product = matrixProduct(call, a.dims, b.dims);
  const { batch, rows, inner, columns, dims } = product;
  const data = call.data(dims, dataType);
  const leftAt = stridedPositions(batch, broadcastStrides(a.dims.slice(0, -2), batch));
  const rightAt = stridedPositions(batch, broadcastStrides(b.dims.slice(0, -2), batch));
  for (let i = 0; i < leftAt.length; i++) {
    multiplyMatrices(call, product, {
      a: { data: a.data, at: leftAt[i]! * rows * inner },
      b: { data: b.data, at: rightAt[i]! * inner * columns },
      out: { data, at: i * rows * columns },
      scale,
    });
  }
  markInexact(dataType, data);
  return computed(dims, dataType, data);
}

const matMul = (call: OperatorCall): Tensor[] => [matmul(call, call.input(0), call.input(1), call.input(0).dataType)];

/** `source` with its last two axes exchanged. */
export function matrixTransposed(call: OperatorCall, source: Tensor): Tensor {
  const perm = source.dims.map((_, i) => i);
  [perm[perm.length - 2], perm[perm.length - 1]] = [perm.length - 1, perm.length - 2];
  return source.dims.length < 2 ? source : transposed(call, source, perm);
}

/** alpha * A' B' + beta * C */
const gemm = (call: OperatorCall): Tensor[] => {
  const a = call.int("transA", 0) !== 0 ? matrixTransposed(call, call.input(0)) : call.input(0);
  const b = call.int("transB", 0) !== 0 ? matrixTransposed(call, call.input(1)) : call.input(1);
  if (a.dims.length !== 2 || b.dims.length !== 2) call.fail("its operands must be matrices");
  const c = call.optional(2);
  const beta = call.float("beta", 1);
  const product = matmul(call, a, b, a.dataType, call.float("alpha", 1));
  if (c === null) return [product];
  const data = call.data(product.dims, a.dataType);
  if (broadcastDims(call, product.dims, c.dims).join() !== product.dims.join())
    call.fail("C does not broadcast to A B");
  const cAt = broadcastPositions(c.dims, product.dims);
  for (let i = 0; i < data.length; i++) data[i] = product.data[i]! + beta * c.data[cAt === null ? i : cAt[i]!]!;
  return [computed(product.dims, a.dataType, data)];
};

/**
 * A matrix minus its zero points, as doubles. There is one zero point for all, or one per row (`rows`) or column.
 */
export function shifted(call: OperatorCall, source: Tensor, zeroPoint: Tensor | null, rows: boolean): Tensor {
  if (zeroPoint === null) return source;
  const count = zeroPoint.data.length;
  const data = call.data(source.dims, DataType.DOUBLE);
  const columns = source.dims.at(-1) ?? 1;
  // A matrix has one zero point per row; a batch may have one for each row of each matrix.
  for (let i = 0; i < data.length; i++) {
    const at = count === 1 ? 0 : rows ? Math.floor(i / columns) % count : i % columns;
    data[i] = source.data[i]! - zeroPoint.data[at]!;
  }
  return { dims: source.dims, dataType: DataType.DOUBLE, data };
}

/** (A - a_zero_point) (B - b_zero_point), int32 */
const matMulInteger = (call: OperatorCall): Tensor[] => [
  matmul(
    call,
    shifted(call, call.input(0), call.optional(2), true),
    shifted(call, call.input(1), call.optional(3), false),
    DataType.INT32,
  ),
];

interface EinsumTerm {
  readonly labels: readonly string[];
  readonly tensor: Tensor;
}

/** Sums of products over labelled indices, any number of operands, repeated labels and ellipses. */
const einsum = (call: OperatorCall): Tensor[] => {
  const operands = call.inputs.map((_, i) => call.input(i));
  const { terms, output, sizes } = equationOf(
    call,
    operands.map(({ dims }) => dims),
  );
  const labelled = operands.map((tensor, i): EinsumTerm => ({ labels: terms[i]!, tensor }));
  const summed = [...sizes.keys()].filter((label) => !output.includes(label));
  const sizesOf = (labels: readonly string[]) => labels.map((label) => sizes.get(label)!);
  return [contract(call, labelled, output, summed, sizesOf(output), sizesOf(summed))];
};

function contract(
  call: OperatorCall,
  terms: readonly EinsumTerm[],
  output: readonly string[],
  summed: readonly string[],
  dims: readonly number[],
  summedDims: readonly number[],
): Tensor {
  const { dataType } = terms[0]!.tensor;
  const data = call.data(dims, dataType);
  const count = elementCount(summedDims);
  call.operations(data.length * count * terms.length);
  call.chargeElements((data.length + count) * terms.length);
  const operands = terms.map(({ labels, tensor }) => {
    const strideOf = (wanted: string) => {
      let stride = 0;
      let step = 1;
      for (let i = labels.length - 1; i >= 0; i--) {
        if (labels[i] === wanted && tensor.dims[i] !== 1) stride += step;
        step *= tensor.dims[i]!;
      }
      return stride;
    };
    return {
      data: tensor.data,
      outputAt: stridedPositions(dims, output.map(strideOf)),
      summedAt: stridedPositions(summedDims, summed.map(strideOf)),
    };
  });
  for (let i = 0; i < data.length; i++) {
    let total = 0;
    for (let j = 0; j < count; j++) {
      let product = 1;
      for (const operand of operands) product *= operand.data[operand.outputAt[i]! + operand.summedAt[j]!]!;
      total += product;
    }
    data[i] = total;
  }
  markInexact(dataType, data);
  return computed(dims, dataType, data);
}

/** Products of matrices, and Einstein sums. */
export const productOperators: OperatorTable = {
  MatMul: matMul,
  Gemm: gemm,
  MatMulInteger: matMulInteger,
  Einsum: einsum,
};

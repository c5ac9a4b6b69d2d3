import { DataType } from "@favor/onnx";
import { type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall } from "../operator-call.ts";
import { isDevice, type Value } from "../value.ts";
import { definedProduct } from "./defined-product.ts";

/** How MatMulNBits packs a weight [N, K]: integers of `bits` bits along K, in blocks with a scale each. */
interface Packing {
  readonly rows: number;
  readonly columns: number;
  readonly bits: number;
  readonly blockSize: number;
  readonly blocks: number;
}

/** Codes less their zero points, `[rows, blocks, blockSize]`, zero where the last block has padding. */
function unpacked(packed: HostTensor["data"], zeroPoints: HostTensor | null, packing: Packing): Float32Array {
  const { rows, columns, bits, blockSize, blocks } = packing;
  const rowBytes = blocks * Math.ceil((blockSize * bits) / 8);
  const code = (from: HostTensor["data"], start: number, i: number): number =>
    (from[start + Math.floor((i * bits) / 8)]! >> ((i * bits) % 8)) & ((1 << bits) - 1);
  const zeroAt = (row: number, block: number): number => {
    if (zeroPoints === null) return 1 << (bits - 1);
    if (zeroPoints.dataType !== DataType.UINT8) return zeroPoints.data[row * blocks + block]!;
    return code(zeroPoints.data, row * Math.ceil((blocks * bits) / 8), block);
  };
  const width = blocks * blockSize;
  const values = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const zero = zeroAt(row, block);
      const end = Math.min(columns, (block + 1) * blockSize);
      for (let i = block * blockSize; i < end; i++) values[row * width + i] = code(packed, row * rowBytes, i) - zero;
    }
  }
  return values;
}

/** A W' with W [N, K] in integers of `bits` bits, see {@link Packing}; differentiable for A, the scales and the bias. */
export const matMulNBits = (call: OperatorCall): Value[] => {
  const [columns, rows] = [call.int("K", 0), call.int("N", 0)];
  const [bits, blockSize] = [call.int("bits", 4), call.int("block_size", 0)];
  if (call.has(4)) throw call.unsupported("reordered groups do not run");
  if (8 % bits !== 0 || blockSize <= 0) throw call.unsupported(`${bits} bits in blocks of ${blockSize} do not run`);
  const blocks = Math.ceil(columns / blockSize);
  const packed = call.host(1).data;
  const scales = call.device(2);
  if (packed.length !== rows * blocks * Math.ceil((blockSize * bits) / 8) || scales.size !== rows * blocks) {
    call.fail("its weight has not K times N values");
  }
  const zeroPoints = call.optional(3);
  if (zeroPoints !== null && isDevice(zeroPoints)) call.fail("its zero points must not depend on weights");
  const codes = unpacked(packed, zeroPoints, { rows, columns, bits, blockSize, blocks });
  const scaled = tf.mul(tf.tensor(codes, [rows, blocks, blockSize]), tf.reshape(scales, [rows, blocks, 1]));
  const weight = tf.slice(tf.reshape(scaled, [rows, blocks * blockSize]), [0, 0], [rows, columns]);
  const source = call.device(0);
  const product = definedProduct(tf.reshape(source, [-1, columns]), weight as tf.Tensor2D, false, true);
  const bias = call.optionalDevice(5);
  const result = bias === null ? product : tf.add(product, bias);
  return [tf.reshape(result, [...source.shape.slice(0, -1), rows])];
};

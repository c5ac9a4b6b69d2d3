import * as tf from "@tensorflow/tfjs-core";

type Conv2DInfo = ReturnType<typeof tf.backend_util.computeConv2DInfo>;
type Size = [number, number, number, number];

interface ConvolutionAttributes {
  readonly strides: [number, number] | number;
  readonly pad: "valid" | "same" | number;
  readonly dimRoundingMode?: "floor" | "round" | "ceil";
  readonly filterShape: Size;
  readonly inputShape: Size;
}

/** The sizes of a convolution without dilation, the only one of which tfjs has a gradient. */
function sizesOf(inShape: Size, filterShape: Size, attrs: ConvolutionAttributes, depthwise: boolean): Conv2DInfo {
  const { strides, pad, dimRoundingMode } = attrs;
  return tf.backend_util.computeConv2DInfo(inShape, filterShape, strides, 1, pad, dimRoundingMode, depthwise);
}

function padded(x: tf.Tensor, { padInfo }: Conv2DInfo): tf.Tensor {
  const { top, bottom, left, right } = padInfo;
  return tf.pad(x, [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]);
}

/** f of every position in a filter, row by row. */
function overFilter<T>({ filterHeight, filterWidth }: Conv2DInfo, f: (row: number, column: number) => T): T[] {
  return Array.from({ length: filterHeight * filterWidth }, (_, i) => f(Math.floor(i / filterWidth), i % filterWidth));
}

/** What the filter's position (row, column) meets of padded inputs, `[batch * outHeight * outWidth, channels]`. */
function met(x: tf.Tensor, info: Conv2DInfo, row: number, column: number): tf.Tensor2D {
  const { batchSize, outHeight, outWidth, strideHeight, strideWidth, inChannels } = info;
  const end = [row + (outHeight - 1) * strideHeight + 1, column + (outWidth - 1) * strideWidth + 1] as const;
  const strides = [1, strideHeight, strideWidth, 1];
  const part = tf.stridedSlice(x, [0, row, column, 0], [batchSize, ...end, inChannels], strides);
  return tf.reshape(part, [batchSize * outHeight * outWidth, inChannels]);
}

/** Conv2DBackpropFilter on wasm, which lacks it: one matrix product per position in the filter. */
export const filterGradient: tf.KernelFunc = ({ inputs, attrs }) => {
  const { x, dy } = inputs as { x: tf.Tensor4D; dy: tf.Tensor4D };
  const given = attrs as unknown as ConvolutionAttributes;
  return tf.tidy(() => {
    const info = sizesOf(x.shape, given.filterShape, given, false);
    const whole = padded(x, info);
    const upstream = tf.reshape(dy, [-1, info.outChannels]) as tf.Tensor2D;
    const products = overFilter(info, (row, column) => tf.matMul(met(whole, info, row, column), upstream, true, false));
    return tf.reshape(tf.stack(products), given.filterShape);
  });
};

/** DepthwiseConv2dNativeBackpropFilter on wasm, which lacks it. */
export const depthwiseFilterGradient: tf.KernelFunc = ({ inputs, attrs }) => {
  const { x, dy } = inputs as { x: tf.Tensor4D; dy: tf.Tensor4D };
  const given = attrs as unknown as ConvolutionAttributes;
  return tf.tidy(() => {
    const info = sizesOf(x.shape, given.filterShape, given, true);
    const whole = padded(x, info);
    const upstream = tf.reshape(dy, [-1, info.inChannels, given.filterShape[3]]);
    const sums = overFilter(info, (row, column) =>
      tf.sum(tf.mul(tf.expandDims(met(whole, info, row, column), 2), upstream), 0),
    );
    return tf.reshape(tf.stack(sums), given.filterShape);
  });
};

/** DepthwiseConv2dNativeBackpropInput on wasm, which lacks it. */
export const depthwiseInputGradient: tf.KernelFunc = ({ inputs, attrs }) => {
  const { dy, filter } = inputs as { dy: tf.Tensor4D; filter: tf.Tensor4D };
  const given = attrs as unknown as ConvolutionAttributes;
  return tf.tidy(() => {
    const info = sizesOf(given.inputShape, filter.shape, given, true);
    const { batchSize, outHeight, outWidth, inChannels, padInfo, inHeight, inWidth } = info;
    const [height, width] = [inHeight + padInfo.top + padInfo.bottom, inWidth + padInfo.left + padInfo.right];
    const upstream = tf.reshape(dy, [batchSize, outHeight, outWidth, inChannels, -1]);
    const parts = overFilter(info, (row, column) => {
      const weights = tf.reshape(tf.slice(filter, [row, column, 0, 0], [1, 1, -1, -1]), [1, 1, 1, inChannels, -1]);
      return spread(tf.sum(tf.mul(upstream, weights), 4), info, row, column, height, width);
    });
    const whole = parts.reduce((a, b) => tf.add(a, b));
    return tf.slice(whole, [0, padInfo.top, padInfo.left, 0], [batchSize, inHeight, inWidth, inChannels]);
  });
};

/** Outputs `[batch, outHeight, outWidth, channels]` at the inputs that (row, column) of the filter meets, zeros elsewhere. */
function spread(
  x: tf.Tensor,
  { batchSize, outHeight, outWidth, inChannels, strideHeight, strideWidth }: Conv2DInfo,
  row: number,
  column: number,
  height: number,
  width: number,
): tf.Tensor {
  const apart = tf.pad(tf.reshape(x, [batchSize, outHeight, 1, outWidth, inChannels]), [
    [0, 0],
    [0, 0],
    [0, strideHeight - 1],
    [0, 0],
    [0, 0],
  ]);
  const rows = tf.reshape(apart, [batchSize, outHeight * strideHeight, outWidth, 1, inChannels]);
  const both = tf.reshape(
    tf.pad(rows, [
      [0, 0],
      [0, 0],
      [0, 0],
      [0, strideWidth - 1],
      [0, 0],
    ]),
    [batchSize, outHeight * strideHeight, outWidth * strideWidth, inChannels],
  );
  // without the zeros after the last output
  const [last, end] = [(outHeight - 1) * strideHeight + 1, (outWidth - 1) * strideWidth + 1];
  return tf.pad(tf.slice(both, [0, 0, 0, 0], [-1, last, end, -1]), [
    [0, 0],
    [row, height - row - last],
    [column, width - column - end],
    [0, 0],
  ]);
}

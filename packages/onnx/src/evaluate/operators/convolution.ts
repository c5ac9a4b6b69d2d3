import { convolutionSteps } from "../../semantics/convolution.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { computed, stridesOf } from "../positions.ts";
import { elementCount, type Tensor } from "../tensor.ts";

/** Index of flat position `at` along dimension `i` of a shape with those strides. */
const indexAt = (at: number, i: number, dims: readonly number[], strides: readonly number[]): number =>
  Math.floor(at / strides[i]!) % dims[i]!;

/** Convolution (cross-correlation) of [N, C, ...] with [M, C / group, ...], any number of spatial dimensions. */
const conv = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const weight = call.input(1);
  const bias = call.optional(2);
  const group = call.int("group", 1);
  const [batch = 0, channels = 0, ...spatial] = source.dims;
  const [filters = 0, perGroup = 0, ...kernel] = weight.dims;
  if (perGroup * group !== channels || filters % group !== 0) {
    call.fail(`a weight of shape ${shown(weight.dims)} in ${group} groups does not fit ${shown(source.dims)}`);
  }
  const steps = convolutionSteps(call, spatial, kernel);
  const output = steps.map((step) => step.output);
  const dims = [batch, filters, ...output];
  const data = call.data(dims, source.dataType);
  const outputSize = elementCount(output);
  const kernelSize = elementCount(kernel);
  const spatialSize = elementCount(spatial);
  call.operations(data.length * kernelSize * perGroup);
  const outputStrides = stridesOf(output);
  const kernelStrides = stridesOf(kernel);
  const spatialStrides = stridesOf(spatial);
  // For one place of the kernel at one output position: where in a channel it reads, or -1 in the padding.
  call.chargeElements(outputSize * kernelSize);
  const reads = new Int32Array(outputSize * kernelSize);
  for (let out = 0; out < outputSize; out++) {
    for (let tap = 0; tap < kernelSize; tap++) {
      let position = 0;
      for (let i = 0; i < spatial.length && position >= 0; i++) {
        const { stride, dilation, before } = steps[i]!;
        const index =
          indexAt(out, i, output, outputStrides) * stride - before + indexAt(tap, i, kernel, kernelStrides) * dilation;
        position = index >= 0 && index < spatial[i]! ? position + index * spatialStrides[i]! : -1;
      }
      reads[out * kernelSize + tap] = position;
    }
  }
  for (let image = 0; image < batch; image++) {
    for (let filter = 0; filter < filters; filter++) {
      const firstChannel = Math.floor(filter / (filters / group)) * perGroup;
      for (let out = 0; out < outputSize; out++) {
        let total = bias === null ? 0 : bias.data[filter]!;
        for (let c = 0; c < perGroup; c++) {
          const from = (image * channels + firstChannel + c) * spatialSize;
          const weights = (filter * perGroup + c) * kernelSize;
          for (let tap = 0; tap < kernelSize; tap++) {
            const read = reads[out * kernelSize + tap]!;
            if (read >= 0) total += source.data[from + read]! * weight.data[weights + tap]!;
          }
        }
        data[(image * filters + filter) * outputSize + out] = total;
      }
    }
  }
  return [computed(dims, source.dataType, data)];
};

/** One value for each channel of [N, C, ...]. */
const globalPool =
  (start: number, combine: (total: number, x: number) => number, mean: boolean) =>
  (call: OperatorCall): Tensor[] => {
    const source = call.input(0);
    const dims = source.dims.map((dim, i) => (i < 2 ? dim : 1));
    const size = elementCount(source.dims.slice(2));
    call.operations(source.data.length);
    const data = call.data(dims, source.dataType);
    for (let i = 0; i < data.length; i++) {
      let total = start;
      for (let j = 0; j < size; j++) total = combine(total, source.data[i * size + j]!);
      data[i] = mean ? total / size : total;
    }
    return [computed(dims, source.dataType, data)];
  };

/** Convolution and global pooling. */
export const convolutionOperators: OperatorTable = {
  Conv: conv,
  GlobalAveragePool: globalPool(0, (total, x) => total + x, true),
  GlobalMaxPool: globalPool(-Infinity, Math.max, false),
};

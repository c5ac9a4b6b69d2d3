import { shown, type NodeCall } from "./node-call.ts";

/** A kernel's way along one spatial dimension, and the padding around it. */
export interface ConvolutionStep {
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
  /** Positions of the output; less than 1 where the kernel does not fit. */
  readonly output: number;
}

/** How the kernel of a convolution or of pooling moves over each spatial dimension. */
export function convolutionSteps(
  call: NodeCall<unknown>,
  spatial: readonly number[],
  kernel: readonly number[],
): ConvolutionStep[] {
  const ones = spatial.map(() => 1);
  const strides = call.ints("strides") ?? ones;
  const dilations = call.ints("dilations") ?? ones;
  const mode = call.string("auto_pad", "NOTSET");
  const pads = (mode === "NOTSET" ? call.ints("pads") : undefined) ?? spatial.flatMap(() => [0, 0]);
  if (kernel.length !== spatial.length || pads.length !== 2 * spatial.length || strides.length !== spatial.length) {
    call.fail(`its kernel ${shown(kernel)}, strides or pads do not fit spatial dimensions ${shown(spatial)}`);
  }
  // Pooling alone may go over the end.
  const round = call.int("ceil_mode", 0) === 1 ? Math.ceil : Math.floor;
  return spatial.map((dim, i) => {
    const [stride, dilation] = [strides[i]!, dilations[i]!];
    const extent = (kernel[i]! - 1) * dilation + 1;
    let [before, after] = [pads[i]!, pads[i + spatial.length]!];
    if (mode.startsWith("SAME")) {
      const total = Math.max(0, (Math.ceil(dim / stride) - 1) * stride + extent - dim);
      before = mode === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
      after = total - before;
    }
    const output = round((dim + before + after - extent) / stride) + 1;
    return { kernel: kernel[i]!, stride, dilation, before, after, output };
  });
}

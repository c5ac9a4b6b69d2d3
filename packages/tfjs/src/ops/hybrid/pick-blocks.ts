import * as tf from "@tensorflow/tfjs-core";
import { segmentSum } from "../../kernels/segment-sum.ts";

const kernelName = "FavorSegmentSum";

/**
 * Rows of a table `[rows, width]` by their numbers `[picks]`, as `tf.gather`, with a gradient that needs no repair: wasm
 * has no UnsortedSegmentSum, and that of cpu takes rows x picks time.
 */
export function pickBlocks(table: tf.Tensor, picks: tf.Tensor): tf.Tensor {
  return tf.customGrad((...parameters) => {
    const [x, at, save] = parameters as unknown[] as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([at]);
    const [rows] = x.shape as [number];
    return {
      value: tf.gather(x, tf.cast(at, "int32")),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => [
        sumRows(dy, tf.cast(saved[0]!, "int32"), rows),
        tf.zerosLike(saved[0]!),
      ],
    };
  })(table, picks);
}

function sumRows(x: tf.Tensor, segmentIds: tf.Tensor, numSegments: number): tf.Tensor {
  const backendName = tf.getBackend();
  if (backendName !== "cpu" && backendName !== "wasm") {
    return tf.unsortedSegmentSum(x, segmentIds as tf.Tensor1D, numSegments);
  }
  if (!(tf.getKernel(kernelName, backendName) as tf.KernelConfig | undefined)) {
    tf.registerKernel({ kernelName, backendName, kernelFunc: segmentSum });
  }
  return tf.engine().runKernel(kernelName, { x, segmentIds }, { numSegments });
}

import * as tf from "@tensorflow/tfjs";

/** Multiplications of one item below which the cost of a call of its own outweighs the faster product. */
const smallest = 1 << 17;

/** What is used of tfjs' wasm backend. */
interface WasmBackend extends tf.KernelBackend {
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  /** A view that the next allocation may invalidate. */
  typedArrayFromHeap(tensor: tf.TensorInfo): tf.TypedArray;
}

let inPlace: tf.KernelFunc | undefined;

/**
 * Makes products of many small matrices fast on the wasm backend, where linear attention has one for each sequence and
 * head: tfjs has a fast product only for one pair of untransposed matrices (15 times that of a batch), and its `slice`
 * copies the whole tensor to the processor for each item. Here items are copied within the backend's memory, and each is
 * freed before the next: the fast product keeps a packed copy of every right operand that lives.
 *
 * Replaces the kernel of this process, whatever it was; does nothing on other backends or a second time.
 */
export function speedUpProducts(): void {
  const config = tf.getKernel("BatchMatMul", "wasm") as tf.KernelConfig | undefined;
  if (tf.getBackend() !== "wasm" || config === undefined || config.kernelFunc === inPlace) return;
  const original = config.kernelFunc;
  inPlace = (call) => (isWorthwhile(call) ? itemwise(call, original) : original(call));
  tf.unregisterKernel("BatchMatMul", "wasm");
  tf.registerKernel({ ...config, kernelFunc: inPlace });
}

type Call = Parameters<tf.KernelFunc>[0];

interface Operands {
  readonly a: tf.Tensor;
  readonly b: tf.Tensor;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Of both, several of them. */
  readonly items: number;
  readonly rows: number;
  readonly inner: number;
  readonly columns: number;
}

function operandsOf({ inputs, attrs }: Call): Operands {
  const { a, b } = inputs as { a: tf.Tensor; b: tf.Tensor };
  const { transposeA, transposeB } = attrs as { transposeA: boolean; transposeB: boolean };
  return {
    a,
    b,
    transposeA,
    transposeB,
    items: tf.util.sizeFromShape(a.shape.slice(0, -2)),
    rows: a.shape.at(transposeA ? -1 : -2)!,
    inner: a.shape.at(transposeA ? -2 : -1)!,
    columns: b.shape.at(transposeB ? -2 : -1)!,
  };
}

function isWorthwhile(call: Call): boolean {
  const { a, b, items, rows, inner, columns } = operandsOf(call);
  const hasSameItems = tf.util.arraysEqual(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return hasSameItems && items > 1 && rows * inner * columns >= smallest;
}

function itemwise(call: Call, product: tf.KernelFunc): tf.TensorInfo {
  const { a, b, transposeA, transposeB, items, rows, inner, columns } = operandsOf(call);
  const backend = call.backend as WasmBackend;
  // Kernels may return tensors; tidy keeps the result and frees the transposed operands.
  return tf.tidy(() => {
    const left = asItems(a, items, transposeA);
    const right = asItems(b, items, transposeB);
    const joined = backend.makeOutput([items, rows, columns], "float32");
    const x = backend.makeOutput([1, rows, inner], "float32");
    for (let item = 0; item < items; item++) {
      const y = backend.makeOutput([1, inner, columns], "float32");
      copyItem(backend, left, item, x, 0);
      copyItem(backend, right, item, y, 0);
      const attrs = { transposeA: false, transposeB: false };
      const made = product({ inputs: { a: x, b: y }, backend, attrs }) as tf.TensorInfo;
      copyItem(backend, made, 0, joined, item);
      backend.disposeData(made.dataId);
      backend.disposeData(y.dataId);
    }
    backend.disposeData(x.dataId);
    const whole = tf.engine().makeTensorFromDataId(joined.dataId, joined.shape, joined.dtype);
    return tf.reshape(whole, [...a.shape.slice(0, -2), rows, columns]);
  });
}

/** Copies one item of a tensor [items, rows, columns] to a place in another of the same rows and columns. */
function copyItem(backend: WasmBackend, from: tf.TensorInfo, item: number, to: tf.TensorInfo, at: number): void {
  const size = from.shape[1]! * from.shape[2]!;
  const source = backend.typedArrayFromHeap(from).subarray(item * size, (item + 1) * size);
  backend.typedArrayFromHeap(to).set(source, at * size);
}

/** x `[..., rows, columns]` as `[items, rows, columns]`, its last two dimensions exchanged if `transpose`. */
function asItems(x: tf.Tensor, items: number, transpose: boolean): tf.Tensor {
  const flat = tf.reshape(x, [items, ...x.shape.slice(-2)]);
  return transpose ? tf.transpose(flat, [0, 2, 1]) : flat;
}

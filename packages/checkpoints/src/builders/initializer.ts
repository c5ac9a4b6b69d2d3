import { CheckpointError } from "../formats/errors.ts";
import { deferredRange } from "../formats/deferred-range.ts";
import type { CheckpointTensor } from "../formats/state-dict.ts";
import { stridedRange } from "../formats/strided.ts";
import Long from "long";
import { readRange } from "@favor/onnx";
import { elementType } from "@favor/onnx";
import { DataType } from "@favor/onnx";
import type { TensorProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { tensorValues } from "@favor/onnx";
import type { NamedTensor } from "./weights.ts";

/** Smaller tensors, in bytes, are read at once, which makes the graph easier to inspect. */
const heldBelow = 1024;

const floats: ReadonlySet<number> = new Set([DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE]);

/**
 * A weight as a float32 initializer. float32 stays in the checkpoint's file; half and double precision are converted when
 * they are read, because onnxruntime's CPU kernels need float32.
 *
 * @throws CheckpointError "unsupported-type" for integers and 8-bit floats, because quantised weights also have scales
 */
export function weightInitializer({ name, tensor }: NamedTensor): TensorProto {
  return initializer(name, toFloat32(name, tensor));
}

/**
 * The matrix of a torch.nn.Linear, [out, in], in the layout of MatMul, [in, out]. It is transposed when it is read, so it
 * takes no memory before.
 *
 * @throws CheckpointError "unsupported-type" as {@link weightInitializer}
 */
export function transposedInitializer({ name, tensor }: NamedTensor): TensorProto {
  const [rows, columns] = tensor.dims as [number, number];
  const width = elementType(tensor.dataType)!.bits / 8;
  const range = stridedRange(tensor.range, { dims: [columns, rows], strides: [1, columns], width });
  const transposed = { dataType: tensor.dataType, dims: [columns, rows], range };
  return initializer(`${name}.transposed`, toFloat32(name, transposed));
}

function toFloat32(name: string, tensor: CheckpointTensor): CheckpointTensor {
  const { dataType, dims } = tensor;
  if (dataType === DataType.FLOAT) return tensor;
  if (!floats.has(dataType)) {
    const type = elementType(dataType)?.name ?? String(dataType);
    throw new CheckpointError(
      "unsupported-type",
      `Weight ${JSON.stringify(name)} has the type ${type}; float32, float16, bfloat16 and float64 are supported. Use the ` +
        "checkpoint that was not quantised.",
      { weight: name, type },
    );
  }
  const count = dims.reduce((product, dim) => product * dim, 1);
  const range = deferredRange(4 * count, () => {
    const { data } = tensorValues(initializer(name, tensor));
    return new Uint8Array(Float32Array.from(data as Float32Array | Float64Array).buffer);
  });
  return { dataType: DataType.FLOAT, dims, range };
}

function initializer(name: string, { dataType, dims, range }: CheckpointTensor): TensorProto {
  const proto = createMessage("TensorProto", { name, dataType, dims: dims.map((dim) => Long.fromNumber(dim)) });
  if (range.length < heldBelow) proto.rawData = readRange(range);
  else proto.source = { field: "rawData", range };
  return proto;
}

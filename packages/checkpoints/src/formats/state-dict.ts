import type { ByteRange } from "@favor/onnx";

/** A tensor of a checkpoint, with its values still in the file. */
export interface CheckpointTensor {
  /** A value of `DataType`. */
  readonly dataType: number;
  /** `[]` for a scalar */
  readonly dims: readonly number[];
  /** The values, row-major and little-endian, as in ONNX's `raw_data`. */
  readonly range: ByteRange;
}

/** A checkpoint's tensors by name, in the order of the file. */
export type StateDict = ReadonlyMap<string, CheckpointTensor>;

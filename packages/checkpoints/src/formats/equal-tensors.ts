import type { CheckpointTensor } from "./state-dict.ts";

/** Values are compared in pieces of this many bytes. */
const pieceBytes = 4 * 1024 * 1024;

/** Whether two tensors have the same type, shape and values, bit by bit. Nothing is read if they are the same range. */
export function equalTensors(a: CheckpointTensor, b: CheckpointTensor): boolean {
  if (a.dataType !== b.dataType || a.dims.join() !== b.dims.join() || a.range.length !== b.range.length) return false;
  if (a.range === b.range) return true;
  const size = Math.min(pieceBytes, a.range.length);
  const [first, second] = [new Uint8Array(size), new Uint8Array(size)];
  for (let offset = 0; offset < a.range.length; offset += size) {
    const bytes = Math.min(size, a.range.length - offset);
    a.range.readInto(first.subarray(0, bytes), offset);
    b.range.readInto(second.subarray(0, bytes), offset);
    for (let i = 0; i < bytes; i++) if (first[i] !== second[i]) return false;
  }
  return true;
}

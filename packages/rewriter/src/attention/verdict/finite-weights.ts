import type { AttentionContext } from "../context.ts";
import { allProducts } from "@favor/onnx/semantics";
import type { AttentionSite } from "../site.ts";
import { GraphError, valuesAbove } from "@favor/onnx/graph";
import { memoryRange } from "@favor/onnx";
import { DataType, type NodeProto, type TensorProto } from "@favor/onnx";
import { tensorValues } from "@favor/onnx";

/**
 * Requires the weights and biases that project a site's queries, keys and values to be finite. Otherwise a damaged
 * checkpoint would pass for a bad approximation. They are read in pieces and not kept; other weights are not read.
 *
 * @param checked names that need no second look; those of this site are added
 * @throws GraphError "non-finite-weights"
 */
export function requireFiniteWeights(context: AttentionContext, site: AttentionSite, checked: Set<string>): void {
  for (const { value } of [site.query, site.key, site.value]) {
    for (const name of constantsAbove(context, value)) {
      if (checked.has(name)) continue;
      checked.add(name);
      const tensor = context.graph.constantProto(name);
      if (tensor === undefined || isFinite(tensor)) continue;
      throw new GraphError(
        "non-finite-weights",
        `Tensor "${name}", which projects attention ${site.index} (layer ${site.layer}), has NaN or infinite ` +
          "values. Download or export the model again, or find the training step that broke it.",
        { tensor: name, site: site.index, layer: site.layer },
      );
    }
  }
}

/** The constants that a value is computed from, up to and including the nearest product with weights on each path. */
function constantsAbove({ graph, dynamic }: AttentionContext, value: string): Set<string> {
  const constants = new Set<string>();
  const producer = (at: string): NodeProto | undefined => (dynamic.has(at) ? graph.producer(at) : undefined);
  const reads = ({ opType, input }: NodeProto): string[] =>
    allProducts.has(opType) ? input.filter((name) => !dynamic.has(name)) : input;
  for (const [at] of valuesAbove([value], producer, reads)) if (graph.isConstant(at)) constants.add(at);
  return constants;
}

/** Bytes of an element, and its exponent in the highest 16 bits: all ones in NaN and infinity alone. */
const formats: ReadonlyMap<number, { readonly bytes: number; readonly exponent: number }> = new Map([
  [DataType.FLOAT, { bytes: 4, exponent: 0x7f80 }],
  [DataType.BFLOAT16, { bytes: 2, exponent: 0x7f80 }],
  [DataType.FLOAT16, { bytes: 2, exponent: 0x7c00 }],
  [DataType.DOUBLE, { bytes: 8, exponent: 0x7ff0 }],
]);

const pieceBytes = 1 << 20;

function isFinite(tensor: TensorProto): boolean {
  const format = formats.get(tensor.dataType);
  if (format === undefined) return true;
  const { source } = tensor;
  const isRaw = source?.field === "rawData" || source?.field === "externalData" || tensor.rawData.length > 0;
  // External data that nobody opened cannot be looked at.
  if (!isRaw && source === undefined && tensor.dataLocation === 1) return true;
  if (!isRaw) return isEveryFinite(tensorValues(tensor).data as ArrayLike<number>);
  const range = source?.range ?? memoryRange(tensor.rawData);
  const piece = new Uint8Array(Math.min(pieceBytes, range.length));
  for (let offset = 0; offset < range.length; offset += piece.length) {
    const part = piece.subarray(0, Math.min(piece.length, range.length - offset));
    range.readInto(part, offset);
    // Little-endian, as every engine's arrays: the sign and the exponent are in the last 16 bits.
    const halves = new Uint16Array(piece.buffer, 0, part.length >> 1);
    const { bytes, exponent } = format;
    const step = bytes / 2;
    for (let at = step - 1; at < halves.length; at += step) if ((halves[at]! & exponent) === exponent) return false;
  }
  return true;
}

function isEveryFinite(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

import { DataType, type NodeProto } from "@favor/onnx";
import { copyingOperators } from "@favor/onnx/semantics";
import { valuesAbove } from "@favor/onnx/graph";
import { countSteps, type AttentionContext } from "../context.ts";
import type { Operand } from "../site.ts";

/** Operators that pass elements on, also scaled or masked. */
const carrying: ReadonlySet<string> = new Set([...copyingOperators, ..."Cast Mul Div Where".split(" ")]);
const floats: readonly number[] = [DataType.FLOAT, DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE];

/**
 * The input that brings keys or values of earlier steps, or of an encoder: the key or value can be followed to it without
 * any projection, and the query cannot. Undefined if there is none.
 */
export function cacheInput(
  context: AttentionContext,
  { query, key, value }: { query: Operand; key: Operand; value: Operand },
): string | undefined {
  // A bare attention, exported with query, key and value as inputs, has no cache.
  if (directInput(context, query.value) !== undefined) return undefined;
  return directInput(context, key.value) ?? directInput(context, value.value);
}

const carried = ({ opType, input }: NodeProto): string[] => (carrying.has(opType) ? input : []);

function directInput(context: AttentionContext, value: string): string | undefined {
  const { graph, dynamic } = context;
  const producer = (at: string): NodeProto | undefined => (dynamic.has(at) ? graph.owner(at)?.producer(at) : undefined);
  for (const [at, node] of valuesAbove([value], producer, carried)) {
    countSteps(context);
    if (node !== undefined || !dynamic.has(at)) continue;
    const input = graph.root.input(at);
    if (input !== undefined && floats.includes(input.type?.tensorType?.elemType ?? 0)) return at;
  }
  return undefined;
}

import { intAttribute, intsAttribute, isStandard } from "./node.ts";
import type { ShapeCall } from "./shape-call.ts";
import type { ShapeInfo } from "./shape-info.ts";

type Shapes = (ShapeInfo | undefined)[] | undefined;

/** Outputs of the fused attention operators, as far as they follow from the inputs: the result, then keys and values. */
export function attentionShapes(call: ShapeCall): Shapes {
  const { node, inputs } = call;
  if (node.opType === "LinearAttention") return linearAttention(call);
  if (isStandard(node)) return standardAttention(call);
  const query = inputs[0];
  if (!query) return undefined;
  const [batch, length] = query.dims as [number, number];
  const result = (width: number): ShapeInfo[] => [{ dims: [batch, length, width], dataType: query.dataType }];
  switch (node.opType) {
    case "Attention":
    case "QAttention": {
      const width = inputs[1]?.dims.at(-1);
      const value = intsAttribute(node, "qkv_hidden_sizes")?.[2] ?? (width === undefined ? undefined : width / 3);
      if (value === undefined) return undefined;
      const dataType = node.opType === "QAttention" ? inputs[3]?.dataType : query.dataType;
      return [{ dims: [batch, length, value], dataType: dataType ?? query.dataType }];
    }
    case "MultiHeadAttention": {
      if (query.dims.length === 5) return result(query.dims[2]! * query.dims[4]!);
      const value = inputs[2]?.dims;
      if (value === undefined) return result(query.dims[2]!);
      return result(value.length === 4 ? value[1]! * value[3]! : value[2]!);
    }
    case "GroupQueryAttention": {
      const heads = intAttribute(node, "num_heads", 1);
      const groups = intAttribute(node, "kv_num_heads", heads);
      const packed = (node.input[1] ?? "") === "";
      return result(packed ? (query.dims[2]! * heads) / (heads + 2 * groups) : query.dims[2]!);
    }
    default:
      return [{ dims: query.dims, dataType: query.dataType }];
  }
}

/** Queries, keys and values as [batch, length, heads x width]: the result, and the state [batch, heads, key, value]. */
function linearAttention({ node, inputs: [query, key, value] }: ShapeCall): Shapes {
  if (!query || !key || !value) return undefined;
  const groups = intAttribute(node, "kv_num_heads", 1);
  const [batch, length] = query.dims as [number, number];
  const [keyWidth, valueWidth] = [key.dims[2]! / groups, value.dims[2]! / groups];
  const { dataType } = query;
  return [
    { dims: [batch, length, valueWidth * intAttribute(node, "q_num_heads", groups)], dataType },
    { dims: [batch, groups, keyWidth, valueWidth], dataType },
  ];
}

function standardAttention({ node, inputs: [query, key, value] }: ShapeCall): Shapes {
  if (!query || !value) return undefined;
  if (query.dims.length === 4) {
    return [{ dims: [...query.dims.slice(0, 3), value.dims[3]!], dataType: query.dataType }, key ?? undefined, value];
  }
  const ratio = intAttribute(node, "q_num_heads", 1) / intAttribute(node, "kv_num_heads", 1);
  return [{ dims: [query.dims[0]!, query.dims[1]!, value.dims[2]! * ratio], dataType: query.dataType }];
}

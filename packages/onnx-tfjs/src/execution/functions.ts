import type { AttributeProto, FunctionProto, NodeProto } from "@favor/onnx";

/** The nodes of a local function as `call` calls it: references to its attributes are replaced by their values. */
export function resolveFunction(fn: FunctionProto, call: NodeProto): NodeProto[] {
  const values = new Map(fn.attributeProto.map((attribute) => [attribute.name, attribute]));
  for (const attribute of call.attribute) values.set(attribute.name, attribute);
  return fn.node.map((node) => resolveNode(node, values));
}

/** A reference becomes the call's value, the function's default, or nothing where neither gives one. */
function resolveNode(node: NodeProto, values: ReadonlyMap<string, AttributeProto>): NodeProto {
  const attribute = node.attribute.flatMap((own): AttributeProto[] => {
    if (own.refAttrName !== "") {
      const value = values.get(own.refAttrName);
      return value === undefined ? [] : [{ ...value, name: own.name }];
    }
    if (own.g === null) return [own];
    return [{ ...own, g: { ...own.g, node: own.g.node.map((inner) => resolveNode(inner, values)) } }];
  });
  return { ...node, attribute };
}

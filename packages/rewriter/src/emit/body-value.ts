import { createMessage, type ValueInfoProto } from "@favor/onnx";

/** What is said of a value that goes into a body or comes out of it. */
export interface BodyValue {
  readonly rank: number;
  /** ONNX data type. */
  readonly dataType: number;
}

/** Declares a value of any sizes. */
export function valueInfo(name: string, { rank, dataType }: BodyValue): ValueInfoProto {
  const dim = Array.from({ length: rank }, () => createMessage("DimensionProto", {}));
  const tensorType = { elemType: dataType, shape: createMessage("TensorShapeProto", { dim }) };
  return createMessage("ValueInfoProto", { name, type: { tensorType, denotation: "" } });
}

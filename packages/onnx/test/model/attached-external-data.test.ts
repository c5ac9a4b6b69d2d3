import Long from "long";
import { expect, it } from "vitest";
import { decodeModel } from "../../src/model/decode.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { attachExternalData, externalDataFromMemory } from "../../src/model/external-data.ts";
import { DataType } from "../../src/model/proto.ts";
import { createMessage } from "../../src/model/schema.ts";
import { tensorValues } from "../../src/model/tensor.ts";

it("encoding a model whose external data is attached keeps the reference to it", () => {
  const weight = createMessage("TensorProto", {
    name: "weight",
    dims: [Long.fromNumber(2)],
    dataType: DataType.FLOAT,
    dataLocation: 1,
    externalData: [createMessage("StringStringEntryProto", { key: "location", value: "weights.bin" })],
  });
  const model = createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { domain: "", version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", { name: "g", initializer: [weight] }),
  });
  const before = encodeModel(model);
  const bytes = new Uint8Array(Float32Array.of(1.5, -2).buffer);
  attachExternalData(model, externalDataFromMemory(new Map([["weights.bin", bytes]])));
  expect(tensorValues(model.graph.initializer[0]!).data).toEqual(Float32Array.of(1.5, -2));
  expect(encodeModel(model)).toEqual(before);
  expect(decodeModel(encodeModel(model)).graph.initializer[0]!.externalData[0]!.value).toBe("weights.bin");
});

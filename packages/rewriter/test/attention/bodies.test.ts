import { describe, expect, test } from "vitest";
import { findAttention, inspectAttention } from "../../src/model-attention.ts";
import { Graph } from "@favor/onnx/graph";
import { DataType, type GraphProto, type ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { valueInfo } from "@favor/test-support/small-model";
import {
  dim,
  heads,
  hidden,
  hiddenStates,
  Layer,
  layerModel,
  paddingMask,
  reEmissionDifference,
} from "@favor/test-support/layer";
import type { LayerInput } from "@favor/test-support/layer";

/** A body that a node of `outer` carries, with the outputs that `write` gives. */
function body(outer: Layer, inputs: GraphProto["input"], write: (b: Layer) => string[]): GraphProto {
  const proto = createMessage("GraphProto", { name: "body", input: inputs });
  const layer = new Layer(new Graph(proto, new Map([["", 17]]), outer.graph), "inner");
  const outputs = write(layer);
  proto.output = outputs.map((name) => createMessage("ValueInfoProto", { name }));
  layer.commit();
  return proto;
}

const condition: LayerInput = { name: "condition", dataType: DataType.BOOL, dims: [] };

/** One attention in each branch, with weights of the graph around. */
const branching = (): ModelProto =>
  layerModel(
    (b) => {
      const bias = b.paddingBias();
      const branch = (scale: number): GraphProto =>
        body(b, [], (inner) => [
          inner.attend((s) => inner.softmax(inner.op("Add", [inner.op("Mul", [s, inner.scalar(scale)]), bias]))),
        ]);
      return b.op("If", ["condition"], { then_branch: { graph: branch(1) }, else_branch: { graph: branch(2) } });
    },
    { inputs: [hiddenStates, paddingMask, condition] },
  );

/** The same layer applied three times, its state carried by the loop. */
const looping = (): ModelProto =>
  layerModel((b) => {
    const bias = b.paddingBias();
    const inputs = [
      valueInfo("iteration", DataType.INT64, []),
      valueInfo("goes_on", DataType.BOOL, []),
      valueInfo("state", DataType.FLOAT, null),
    ];
    const graph = body(b, inputs, (inner) => {
      const made = inner.attend((s) => inner.softmax(inner.op("Add", [s, bias])), "state");
      return [inner.op("Identity", ["goes_on"]), inner.op("Add", ["state", made])];
    });
    return b.op("Loop", [b.integer(3), "", "x"], { body: { graph } });
  });

/** One layer for each slice of its weights. */
const scanning = (): ModelProto =>
  layerModel(
    (b) => {
      const weights = b.weights([2, hidden, hidden]);
      const inputs = [valueInfo("state", DataType.FLOAT, null), valueInfo("projection", DataType.FLOAT, null)];
      const graph = body(b, inputs, (inner) => {
        const split = (): string => {
          const rows = inner.op("MatMul", ["state", "projection"]);
          return inner.transpose(inner.reshape(rows, [0, 0, heads, dim]), [0, 2, 1, 3]);
        };
        const [q, k, v] = [split(), split(), split()];
        return [inner.merge(inner.op("MatMul", [inner.softmax(inner.logits(q, k)), v]))];
      });
      return b.op("Scan", ["x", weights], { body: { graph }, num_scan_inputs: { int: 1 } });
    },
    { inputs: [hiddenStates] },
  );

/** Attention whose keys and values `extend` makes longer. */
const attendTo = (b: Layer, extend: (v: string) => string): string[] => {
  const [q, k, v] = [b.project("x"), extend(b.project("x")), extend(b.project("x"))];
  return [b.merge(b.op("MatMul", [b.softmax(b.logits(q, k)), v]))];
};

describe("attention inside bodies", () => {
  test.each([
    ["both branches of an If", branching, 2, "padding"],
    ["a Loop", looping, 1, "padding"],
    ["a Scan over weights", scanning, 1, "none"],
  ] as const)("of %s", async (_, make, count, mask) => {
    const { sites } = inspectAttention(make());
    expect(sites.flatMap(({ reasons }) => reasons)).toEqual([]);
    expect(sites.map((site) => [site.kind, site.heads, site.mask.kind])).toEqual(
      Array.from({ length: count }, () => ["self", heads, mask]),
    );
    expect(await reEmissionDifference(make, mask === "padding")).toBeLessThan(5e-6);
  });

  test("is named where calibration cannot see its queries and keys", () => {
    const { taps, notes } = findAttention(branching()).tapSamples();
    expect(taps).toEqual([]);
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/inside a body of If, Loop or Scan/);
  });

  test("a branch beside one with a cache stays as well", () => {
    const past: LayerInput = { name: "past", dataType: DataType.FLOAT, dims: ["batch", heads, "steps", dim] };
    const made = layerModel(
      (b) => {
        const first = body(b, [], (inner) => attendTo(inner, (v) => v));
        const later = body(b, [], (inner) => attendTo(inner, (v) => inner.concat(["past", v], 2)));
        return b.op("If", ["condition"], { then_branch: { graph: first }, else_branch: { graph: later } });
      },
      { inputs: [hiddenStates, past, condition] },
    );
    const codes = inspectAttention(made).sites.map(({ reasons }) => reasons.map(({ code }) => code));
    expect(codes).toEqual([["kv-cache"], ["kv-cache"]]);
  });
});

import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { DataType, type ModelProto } from "@favor/onnx";
import {
  dim,
  heads,
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  reEmissionDifference,
} from "@favor/test-support/layer";
import type { Layer, LayerOptions } from "@favor/test-support/layer";
import { valueInfo } from "@favor/test-support/small-model";

interface Case extends LayerOptions {
  readonly fault: number;
  readonly name: string;
  readonly write: (b: Layer) => string;
  /** For what `write` cannot say. */
  readonly change?: (model: ModelProto) => void;
}

const make = ({ write, change, ...options }: Case): ModelProto => {
  const model = layerModel(write, options);
  change?.(model);
  return model;
};

const memory = { name: "memory", dataType: DataType.FLOAT, dims: ["batch", "keys", hidden] };
/** Queries, keys and values of the given projections, with nothing but a softmax between. */
const attend = (b: Layer, query: string, key: string, value: string, factor: number): string => {
  const product = b.op("MatMul", [query, b.transpose(key, [0, 1, 3, 2])]);
  return b.merge(b.op("MatMul", [b.softmax(b.op("Mul", [product, b.scalar(factor)])), value]));
};
const half = Math.sqrt(1 / Math.sqrt(dim));

const converted: (Case & { readonly facts?: object })[] = [
  {
    fault: 32,
    name: "weights shared by two layers",
    write: (b) => {
      const [q, k, v] = [0, 1, 2].map(() => b.weights([hidden, hidden]));
      const project = (x: string, w: string): string =>
        b.transpose(b.reshape(b.op("MatMul", [x, w]), [0, 0, heads, dim]), [0, 2, 1, 3]);
      let x = "x";
      for (let layer = 0; layer < 2; layer++) x = attend(b, project(x, q!), project(x, k!), project(x, v!), half ** 2);
      return x;
    },
  },
  {
    fault: 35,
    name: "dropout of inference after the softmax",
    write: (b) => b.attend((s) => b.op("Dropout", [b.softmax(s), b.scalar(0.1)])),
  },
  {
    fault: 36,
    name: "casts to half precision and back",
    write: (b) => {
      const [query, key, value] = [0, 1, 2].map(() => b.cast(b.project("x"), DataType.FLOAT16)) as [
        string,
        string,
        string,
      ];
      const logits = b.cast(b.op("MatMul", [query, b.transpose(key, [0, 1, 3, 2])]), DataType.FLOAT);
      const probabilities = b.cast(b.softmax(b.op("Mul", [logits, b.scalar(half ** 2)])), DataType.FLOAT16);
      return b.merge(b.cast(b.op("MatMul", [probabilities, value]), DataType.FLOAT));
    },
  },
  {
    fault: 39,
    name: "com.microsoft Attention",
    write: (b) =>
      b.op(
        "Attention",
        ["x", b.weights([hidden, 3 * hidden]), b.weights([3 * hidden])],
        { num_heads: { int: heads } },
        {
          domain: "com.microsoft",
        },
      ),
  },
  {
    fault: 40,
    name: "softmax of opset 11 over its last axis",
    opset: 11,
    write: (b) => b.attend((s) => b.op("Softmax", [s], { axis: { int: 3 } })),
  },
  {
    fault: 41,
    name: "the scale in the query's product alone",
    write: (b) => attend(b, b.op("Mul", [b.project("x"), b.scalar(half ** 2)]), b.project("x"), b.project("x"), 1),
    facts: { scale: Math.fround(half ** 2) },
  },
  {
    fault: 41,
    name: "the scale's root on both sides",
    write: (b) => {
      const scaled = (): string => b.op("Mul", [b.project("x"), b.scalar(half)]);
      return attend(b, scaled(), scaled(), b.project("x"), 1);
    },
    facts: { scale: Math.fround(half ** 2) },
  },
  {
    fault: 41,
    name: "the scale in the weights",
    write: (b) => attend(b, b.project("x"), b.project("x"), b.project("x"), 1),
    facts: { scale: 1 },
  },
  {
    fault: 43,
    name: "one key and value head for all queries",
    write: (b) => attend(b, b.project("x"), b.project("x", 1), b.project("x", 1), half ** 2),
    facts: { heads, keyValueHeads: 1 },
  },
  {
    fault: 47,
    name: "cross-attention to another length",
    inputs: [hiddenStates, memory],
    write: (b) => attend(b, b.project("x"), b.project("memory"), b.project("memory"), half ** 2),
    facts: { kind: "cross" },
  },
];

describe("converted", () => {
  test.each(converted)("fault $fault: $name", async (given) => {
    const { sites } = inspectAttention(make(given));
    expect(sites.length).toBeGreaterThan(0);
    for (const site of sites) expect(site).toMatchObject({ verdict: "convert", reasons: [], ...given.facts });
    const tolerance = given.fault === 36 ? 2e-3 : 1e-5;
    expect(await reEmissionDifference(() => make(given), false)).toBeLessThan(tolerance);
  });
});

/** Exposes the output of the first node of a type. */
const expose = (opType: string) => (model: ModelProto) => {
  const value = model.graph.node.find((node) => node.opType === opType)!.output[0]!;
  model.graph.output.push(valueInfo(value, DataType.FLOAT, null));
};
/** Values rounded to 8 bits and back. */
const quantised = (b: Layer, value: string): string => {
  const scale = b.scalar(1 / 255);
  return b.op("DequantizeLinear", [b.op("QuantizeLinear", [value, scale]), scale]);
};

const refused: (Case & { readonly code: string })[] = [
  {
    fault: 33,
    name: "probabilities are an output",
    write: (b) => b.attend((s) => b.softmax(s)),
    change: expose("Softmax"),
    code: "probabilities-are-output",
  },
  {
    fault: 34,
    name: "probabilities are used twice",
    write: (b) => {
      let probabilities = "";
      const made = b.attend((s) => (probabilities = b.softmax(s)));
      return b.op("Add", [made, b.op("ReduceMax", [probabilities], { keepdims: { int: 0 } })]);
    },
    code: "probabilities-used",
  },
  {
    fault: 37,
    name: "a bias for each query and key",
    inputs: [hiddenStates, { name: "bias", dataType: DataType.FLOAT, dims: ["batch", 1, "length", "length"] }],
    write: (b) => b.attend((s) => b.softmax(b.op("Add", [s, "bias"]))),
    code: "per-query-mask",
  },
  {
    fault: 38,
    name: "probabilities of 8 bits",
    write: (b) => b.attend((s) => quantised(b, b.softmax(s))),
    code: "quantized-attention",
  },
  {
    fault: 40,
    name: "softmax of opset 11 over all axes from the first: heads and queries together",
    opset: 11,
    write: (b) => b.attend((s) => b.op("Softmax", [s], { axis: { int: 1 } })),
    code: "not-softmax",
  },
];

describe("refused", () => {
  test.each(refused)("fault $fault: $name", (given) => {
    const { sites } = inspectAttention(make(given));
    expect(sites.map(({ verdict, reasons }) => [verdict, ...reasons.map(({ code }) => code)])).toEqual([
      ["refuse", given.code],
    ]);
    // A sentence for a person.
    expect(sites[0]!.reasons[0]!.message).toMatch(/^[A-Z"].{20,}\.$/s);
  });
});

describe("no attention", () => {
  const silent: Case[] = [
    {
      fault: 46,
      name: "class scores",
      write: (b) => b.softmax(b.linear(b.op("ReduceMean", ["x"], { axes: { ints: [1] }, keepdims: { int: 0 } }), 10)),
    },
    {
      fault: 46,
      name: "a softmax gate on the channels",
      write: (b) => b.op("Mul", ["x", b.softmax(b.linear("x"))]),
    },
    {
      fault: 46,
      name: "pooling by one learned query",
      write: (b) => {
        const weights = b.op("Softmax", [b.linear("x", 1)], { axis: { int: 1 } });
        return b.op("MatMul", [b.transpose(weights, [0, 2, 1]), "x"]);
      },
    },
  ];
  test.each(silent)("fault $fault: $name", (given) => {
    expect(inspectAttention(make(given)).sites).toEqual([]);
  });
});

test("fault 42: inputs without shapes are no crash, and nothing is converted", () => {
  const given: Case = {
    fault: 42,
    name: "",
    inputs: [hiddenStates, paddingMask],
    write: (b) => b.attend((s) => b.softmax(s)),
    change: (model) => {
      for (const { type } of model.graph.input) type!.tensorType!.shape = null;
    },
  };
  expect(inspectAttention(make(given)).sites.every(({ verdict }) => verdict === "refuse")).toBe(true);
});

test("fault 42: a head count that only the reshape's target tells", () => {
  const given: Case = {
    fault: 42,
    name: "",
    inputs: [{ ...hiddenStates, dims: ["batch", "length", "width"] }],
    write: (b) => b.attend((s) => b.softmax(s)),
  };
  const { sites } = inspectAttention(make(given));
  expect(sites.every((site) => site.heads === heads || site.verdict === "refuse")).toBe(true);
});

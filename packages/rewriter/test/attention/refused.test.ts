import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { refusalCodes, type RefusalCode } from "../../src/refusals/codes.ts";
import { refusedOperators } from "../normalise/refused-operators.ts";
import { DataType } from "@favor/onnx";
import { dim, groupedQueries, heads, hidden, hiddenStates, layerModel } from "@favor/test-support/layer";
import type { Layer, LayerOptions } from "@favor/test-support/layer";

interface Case extends LayerOptions {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  /** Undefined: nothing is reported as attention at all. */
  readonly code: RefusalCode | undefined;
}

const lone = { inputs: [hiddenStates] };
const past = (b: Layer): string => b.op("Not", [b.op("Greater", [b.distances(), b.integer(0)])]);

const cases: Case[] = [
  {
    name: "the logarithm of a mask of whole numbers, which weighs keys of 2 twice",
    code: "mask-from-data",
    write: (b) =>
      b.attend((s) => b.softmax(b.op("Add", [s, b.op("Log", [b.unsqueeze(b.cast("mask", DataType.FLOAT), [1, 2])])]))),
  },
  {
    name: "a scale that grows with the length beyond 512",
    code: "mask-changes",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const length = b.cast(b.squeeze(b.dimension("x", 1), [0]), DataType.FLOAT);
        return b.softmax(b.op("Mul", [s, b.op("Max", [b.op("Mul", [length, b.scalar(1 / 512)]), b.scalar(1)])]));
      }),
  },
  {
    name: "blocks of 64",
    code: "block-diagonal",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const block = b.op("Div", [b.positions(), b.integer(64)]);
        return b.softmax(b.masked(b.op("Equal", [b.unsqueeze(block, [0]), b.unsqueeze(block, [1])]), s));
      }),
  },
  {
    name: "soft-capping at 50",
    code: "soft-capping",
    ...lone,
    write: (b) =>
      b.attend((s) => b.softmax(b.op("Mul", [b.op("Tanh", [b.op("Div", [s, b.scalar(50)])]), b.scalar(50)]))),
  },
  {
    name: "the three largest logits",
    code: "top-k",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const [values] = b.ops("TopK", [s, b.integers([3])], 2, { axis: { int: -1 } }) as [string, string];
        return b.softmax(b.masked(b.op("GreaterOrEqual", [s, b.slice(values, 3, 2, 3)]), s));
      }),
  },
  {
    name: "heads mixed before the softmax",
    code: "talking-heads",
    ...lone,
    write: (b) =>
      b.attend((s) =>
        b.softmax(b.op("Einsum", [s, b.weights([heads, heads])], { equation: { string: "bhqk,hg->bgqk" } })),
      ),
  },
  {
    name: "heads mixed before the softmax, as onnxruntime's optimizer writes it",
    code: "talking-heads",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const last = b.transpose(s, [0, 2, 3, 1]);
        const mixed = b.op("FusedMatMul", [last, b.weights([heads, heads])], {}, { domain: "com.microsoft" });
        return b.softmax(b.transpose(mixed, [0, 3, 1, 2]));
      }),
  },
  {
    name: "a learned bias of the distance in buckets by its logarithm",
    code: "relative-position-bias",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const away = b.op("Add", [b.cast(b.op("Abs", [b.distances()]), DataType.FLOAT), b.scalar(1)]);
        const bucket = b.cast(b.op("Mul", [b.op("Log", [away]), b.scalar(3)]), DataType.INT64);
        const bias = b.op("Gather", [b.weights([32, heads], 2), bucket]);
        return b.softmax(b.op("Add", [s, b.unsqueeze(b.transpose(bias, [2, 0, 1]), [0])]));
      }),
  },
  {
    name: "a learned bias of the distance",
    code: "relative-position-bias",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const clipped = b.op("Add", [
          b.op("Max", [b.op("Min", [b.distances(), b.integer(5)]), b.integer(-5)]),
          b.integer(5),
        ]);
        const bias = b.op("Gather", [b.weights([11, heads], 2), clipped]);
        return b.softmax(b.op("Add", [s, b.unsqueeze(b.transpose(bias, [2, 0, 1]), [0])]));
      }),
  },
  {
    name: "a bias that grows with the distance",
    code: "alibi",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const slope = b.op("Mul", [b.cast(b.op("Abs", [b.distances()]), DataType.FLOAT), b.scalar(0.1)]);
        return b.softmax(b.op("Add", [s, slope]));
      }),
  },
  {
    name: "a learned bias of its own for each query and key",
    code: "additive-bias",
    inputs: [{ ...hiddenStates, dims: [1, 12, hidden] }],
    write: (b) => b.attend((s) => b.softmax(b.op("Add", [s, b.weights([heads, 12, 12], 2)]))),
  },
  {
    name: "a weight for each key, between dropping and keeping it",
    code: "weighted-keys",
    write: (b) => b.attend((s) => b.softmax(b.op("Sub", [s, b.unsqueeze(b.cast("mask", DataType.FLOAT), [1, 2])]))),
  },
  {
    name: "a padding mask of its own for each head",
    code: "key-mask-not-found",
    inputs: [hiddenStates, { name: "mask", dataType: DataType.BOOL, dims: ["batch", heads, "length"] }],
    write: (b) => b.attend((s) => b.softmax(b.masked(b.unsqueeze("mask", [2]), s))),
  },
  {
    name: "dropout of training on the probabilities",
    code: "mask-not-evaluated",
    ...lone,
    write: (b) => b.attend((s) => b.op("Dropout", [b.softmax(s), b.scalar(0.4), b.cast(b.integer(1), DataType.BOOL)])),
  },
  {
    name: "a mask for each query from outside",
    code: "per-query-mask",
    inputs: [hiddenStates, { name: "mask", dataType: DataType.BOOL, dims: ["batch", "length", "length"] }],
    write: (b) => b.attend((s) => b.softmax(b.masked(b.unsqueeze("mask", [1]), s))),
  },
  {
    name: "KerasHub's ESM on TensorFlow: the padding mask laid along the queries",
    code: "query-mask",
    write: (b) => b.attend((s) => b.softmax(b.masked(b.cast(b.unsqueeze("mask", [1, 3]), DataType.BOOL), s))),
  },
  {
    name: "tf2onnx: a causal mask for each of the heads folded into the queries' axis",
    code: "folded-queries",
    ...lone,
    write: (b) => groupedQueries(b, (s) => b.softmax(b.masked(past(b), s))),
  },
  {
    name: "segments",
    code: "block-diagonal",
    write: (b) =>
      b.attend((s) =>
        b.softmax(b.masked(b.unsqueeze(b.op("Equal", [b.unsqueeze("mask", [1]), b.unsqueeze("mask", [2])]), [1]), s)),
      ),
  },
  {
    name: "a prefix that all see",
    code: "per-query-mask",
    inputs: [hiddenStates, { name: "prefix", dataType: DataType.INT64, dims: ["batch"] }],
    write: (b) =>
      b.attend((s) => {
        const inPrefix = b.op("Less", [b.unsqueeze(b.positions(), [0]), b.unsqueeze("prefix", [1])]);
        return b.softmax(b.masked(b.op("Or", [past(b), b.unsqueeze(inPrefix, [1, 2])]), s));
      }),
  },
  {
    name: "a second term that depends on the content",
    code: "content-dependent-bias",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const term = b.op("MatMul", [b.project("x"), b.weights([dim, 1])]);
        return b.softmax(b.op("Add", [s, b.transpose(term, [0, 1, 3, 2])]));
      }),
  },
  {
    name: "a bias of the content, normalised by its root mean square",
    code: "content-dependent-bias",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const normalised = b.op("SimplifiedLayerNormalization", ["x", b.weights([hidden])]);
        return b.softmax(b.op("Add", [s, b.unsqueeze(b.reduceMax(normalised, -1), [1])]));
      }),
  },
  {
    name: "sigmoid in the softmax's place",
    code: undefined,
    ...lone,
    write: (b) => b.attend((s) => b.op("Sigmoid", [s])),
  },
  {
    name: "a sink in the normaliser",
    code: "not-softmax",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const sink = b.op("Add", [b.op("Mul", [b.slice(s, 3, 0, 1), b.scalar(0)]), b.scalar(1)]);
        const length = b.dimension("x", 1);
        return b.op("Slice", [b.softmax(b.concat([s, sink], 3)), b.integers([0]), length, b.integers([3])]);
      }),
  },
  {
    name: "a scale that grows with the length",
    code: "not-softmax",
    ...lone,
    write: (b) =>
      b.attend((s) => b.softmax(b.op("Mul", [s, b.op("Log", [b.cast(b.dimension("x", 1), DataType.FLOAT)])]))),
  },
  {
    name: "probabilities used elsewhere",
    code: "probabilities-used",
    ...lone,
    write: (b) => {
      let probabilities = "";
      const context = b.attend((s) => (probabilities = b.softmax(s)));
      return b.op("Add", [context, b.squeeze(b.unsqueeze(b.reduceMax(b.reduceMax(probabilities, 3), 1), [2]), [1, 2])]);
    },
  },
  {
    name: "keys of earlier steps",
    code: "kv-cache",
    inputs: [hiddenStates, { name: "past", dataType: DataType.FLOAT, dims: ["batch", heads, "steps", dim] }],
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.concat(["past", b.project("x")], 2), b.concat(["past", b.project("x")], 2)];
      return b.merge(b.op("MatMul", [b.softmax(b.logits(q, k)), v]));
    },
  },
  {
    name: "T5's bias as onnxruntime's optimizer fuses it",
    code: "relative-position-bias",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const length = b.squeeze(b.dimension("x", 1), [0]);
        const attributes = { max_distance: { int: 16 }, is_bidirectional: { int: 1 } };
        const table = b.weights([8, heads], 2);
        const bias = b.op("RelativePositionBias", [table, length, length], attributes, { domain: "com.microsoft" });
        return b.softmax(b.op("Add", [s, bias]));
      }),
  },
  {
    name: "both products of integers, quantised as they come",
    code: "quantized-attention",
    ...lone,
    write: (b) => {
      const integers = (x: string): [string, string] => {
        const [numbers, scale] = b.ops("DynamicQuantizeLinear", [x], 3);
        return [numbers!, scale!];
      };
      const product = (x: string, y: string): string => {
        const [[a, scaleA], [c, scaleC]] = [integers(x), integers(y)];
        const whole = b.cast(b.op("MatMulInteger", [a, c]), DataType.FLOAT);
        return b.op("Mul", [whole, b.op("Mul", [scaleA, scaleC])]);
      };
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      return b.merge(product(b.softmax(product(q, b.transpose(k, [0, 1, 3, 2]))), v));
    },
  },
  {
    name: "both products and the softmax in integers of fixed scales",
    code: "quantized-attention",
    ...lone,
    write: (b) => {
      const [scale, zero] = [b.scalar(0.02), b.cast(b.integer(128), DataType.UINT8)];
      const integers = (x: string): string => b.op("QuantizeLinear", [x, scale, zero]);
      const product = (x: string, y: string): string =>
        b.op("QLinearMatMul", [x, scale, zero, y, scale, zero, scale, zero]);
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")].map(integers);
      const logits = product(q!, b.transpose(k!, [0, 1, 3, 2]));
      const attributes = { axis: { int: -1 }, opset: { int: 17 } };
      const domain = "com.microsoft";
      const p = b.op("QLinearSoftmax", [logits, scale, zero, scale, zero], attributes, { domain });
      return b.merge(b.op("DequantizeLinear", [product(p, v!), scale, zero]));
    },
  },
  {
    name: "logits summed over the rows of an alignment (MSA Transformer)",
    code: "tied-attention",
    inputs: [{ ...hiddenStates, dims: ["rows", "length", hidden] }],
    write: (b) => {
      const split = (): string => b.reshape(b.linear("x"), [0, 0, heads, dim]);
      const logits = b.op("Einsum", [split(), split()], { equation: { string: "rihd,rjhd->hij" } });
      return b.reshape(b.op("Einsum", [b.softmax(logits), split()], { equation: { string: "hij,rjhd->rihd" } }), [
        0,
        0,
        hidden,
      ]);
    },
  },
  {
    name: "keys of the query's own bucket, which its content chooses (Reformer)",
    code: "content-sorted",
    ...lone,
    write: (b) => {
      const buckets = b.op("ArgMax", [b.op("MatMul", ["x", b.weights([hidden, 4])])], {
        axis: { int: 2 },
        keepdims: { int: 0 },
      });
      const same = b.op("Equal", [b.unsqueeze(buckets, [1, 2]), b.unsqueeze(buckets, [1, 3])]);
      return b.attend((s) => b.softmax(b.masked(same, s)));
    },
  },
  {
    name: "learned keys before the first position of causal attention",
    code: "memory-keys",
    ...lone,
    write: (b) => {
      const learned = (): string => {
        const batch = b.concat([b.dimension("x", 0), b.integers([1, 1, 1])], 0);
        return b.op("Expand", [b.weights([1, heads, 3, dim]), batch]);
      };
      const [q, k, v] = [
        b.project("x"),
        b.concat([learned(), b.project("x")], 2),
        b.concat([learned(), b.project("x")], 2),
      ];
      const memory = b.op("Expand", [
        b.cast(b.integer(1), DataType.BOOL),
        b.concat([b.dimension("x", 1), b.integers([3])], 0),
      ]);
      const keep = b.concat([memory, past(b)], 1);
      return b.merge(b.op("MatMul", [b.softmax(b.masked(keep, b.logits(q, k))), v]));
    },
  },
  {
    name: "channels compared over positions",
    code: undefined,
    inputs: [{ ...hiddenStates, dims: ["batch", 9, hidden] }],
    write: (b) => {
      const columns = (): string => b.transpose(b.project("x"), [0, 1, 3, 2]);
      const [q, k, v] = [columns(), columns(), columns()];
      const p = b.softmax(b.logits(q, k));
      return b.merge(b.transpose(b.op("MatMul", [p, v]), [0, 1, 3, 2]));
    },
  },
];

describe("attention that stays", () => {
  test.each(cases)("$name: $code", ({ write, code, ...options }) => {
    const { sites } = inspectAttention(layerModel(write, options));
    expect(sites.map(({ reasons }) => reasons.map((reason) => reason.code))).toEqual(
      code === undefined ? [] : [[code]],
    );
  });

  test("shows every refusal code", () => {
    const shown = [...cases, ...refusedOperators].flatMap(({ code }) => code ?? []);
    expect([...new Set(shown)].toSorted()).toEqual(Object.keys(refusalCodes).toSorted());
  });
});

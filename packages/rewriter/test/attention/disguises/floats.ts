import { DataType } from "@favor/onnx";
import {
  by,
  byWhole,
  distance,
  float,
  floatDistance,
  hideUnless,
  input,
  length,
  ofItems,
  ofKeys,
  padded,
  plus,
  same,
  afterwards,
  times,
  causal,
  type Disguise,
} from "./layers.ts";

const perHead = input("head_mask", DataType.FLOAT, 2);
const scalar = input("temperature", DataType.FLOAT);
const ofItem = input("gate", DataType.FLOAT, "batch");
const ofKey = input("soft", DataType.FLOAT, "batch", "length");
const switched = input("switch", DataType.BOOL);

/** Floats, and single numbers. */
export const fedFloats: readonly Disguise[] = [
  {
    name: "a head mask of each item",
    inputs: [input("head_mask", DataType.FLOAT, "batch", 2)],
    attend: padded(afterwards((b, p) => b.op("Mul", [p, b.unsqueeze("head_mask", [2, 3])]))),
  },
  {
    name: "a head mask on the logits",
    inputs: [perHead],
    attend: padded(times((b) => b.reshape("head_mask", [1, 2, 1, 1]))),
  },
  {
    name: "a head mask added as a logarithm",
    inputs: [perHead],
    attend: padded((b, s) =>
      b.op("Exp", [b.op("Add", [b.op("LogSoftmax", [s]), b.reshape(b.op("Log", ["head_mask"]), [1, 2, 1, 1])])]),
    ),
  },
  {
    name: "a head mask that is rounded",
    inputs: [perHead],
    attend: padded(afterwards((b, p) => b.op("Mul", [p, b.reshape(b.op("Ceil", ["head_mask"]), [1, 2, 1, 1])]))),
  },
  { name: "a temperature that multiplies", inputs: [scalar], attend: padded(times(() => "temperature")) },
  {
    name: "a temperature that is at least one",
    inputs: [scalar],
    attend: padded(times((b) => by(b, "Max", "temperature", 1))),
  },
  {
    name: "a temperature that is a power",
    inputs: [scalar],
    attend: padded(times((b) => b.op("Pow", [b.scalar(2), by(b, "Sub", "temperature", 1)]))),
  },
  { name: "a temperature of each item", inputs: [ofItem], attend: padded(times((b) => ofItems(b, "gate"))) },
  {
    name: "a temperature as a whole number",
    inputs: [input("temperature", DataType.INT64)],
    attend: padded((b, s) => b.softmax(b.op("Div", [s, float(b, byWhole(b, "Max", "temperature", 1))]))),
  },
  {
    name: "a temperature beyond three",
    inputs: [scalar],
    attend: padded(times((b) => by(b, "Max", by(b, "Div", "temperature", 3), 1))),
  },
  {
    name: "a switch to causal order",
    inputs: [switched],
    attend: padded(hideUnless((b) => b.op("Or", [b.op("Not", ["switch"]), causal(b)]))),
  },
  {
    name: "a window whose bound is fed",
    inputs: [input("bound", DataType.INT64)],
    attend: padded(hideUnless((b) => b.op("LessOrEqual", [distance(b), "bound"]))),
  },
  {
    name: "a slope that is fed",
    inputs: [scalar],
    attend: padded(plus((b) => b.op("Mul", [floatDistance(b), by(b, "Mul", "temperature", -1e-4)]))),
  },
  { name: "weights of keys that are fed", inputs: [ofKey], attend: padded(times((b) => ofKeys(b, "soft"))) },
  {
    name: "weights of keys that are fed, after the softmax",
    inputs: [ofKey],
    attend: padded(afterwards((b, p) => b.op("Mul", [p, ofKeys(b, "soft")]))),
  },
  {
    name: "keys hidden by a threshold on a float",
    inputs: [ofKey],
    attend: padded(plus((b) => ofKeys(b, b.op("Relu", [by(b, "Mul", by(b, "Sub", "soft", 1), -3)])))),
  },
  {
    name: "keys beyond a float of two weighed otherwise",
    inputs: [ofKey],
    attend: padded(plus((b) => ofKeys(b, by(b, "Max", by(b, "Sub", "soft", 2), 0)))),
  },
  { name: "keys of equal floats", inputs: [ofKey], attend: padded(hideUnless((b) => same(b, "soft"))) },
  {
    name: "a bias that is fed for each query and key",
    inputs: [input("bias", DataType.FLOAT, "batch", 1, "length", "length")],
    attend: padded(plus(() => "bias")),
  },
  {
    name: "a gate on logits by the length that is fed",
    inputs: [ofItem],
    attend: padded((b, s) =>
      b.softmax(b.op("Mul", [s, ofItems(b, b.op("Div", [length(b), b.op("Max", ["gate", length(b)])]))])),
    ),
  },
];

import type { Layer } from "@favor/test-support/layer";
import {
  by,
  byWhole,
  distance,
  float,
  hiding,
  hideUnless,
  ofItems,
  ofKeys,
  ofQueries,
  padded,
  reduced,
  same,
  table,
  afterwards,
  times,
  whole,
  causal,
  onLogits,
  type Disguise,
} from "./layers.ts";

/** Causal where a condition on a whole sequence, [batch] or [], holds. */
const causalIf = (condition: (b: Layer) => string): Disguise["attend"] =>
  padded(hideUnless((b) => b.op("Or", [b.op("Not", [ofItems(b, condition(b))]), b.unsqueeze(causal(b), [0, 1])])));
const mean = (b: Layer): string => reduced(b, "ReduceMean", float(b, "ids"));
const isToken = (b: Layer, id: number): string => byWhole(b, "Equal", "ids", id);
const countOf = (b: Layer, id: number): string => b.op("CumSum", [whole(b, isToken(b, id)), b.integer(1)]);
const first = (b: Layer, value: string): string => b.squeeze(b.slice(value, 1, 0, 1), [1]);
const last = (b: Layer, value: string): string => b.squeeze(b.slice(value, 1, -1, 2 ** 31), [1]);

/** Token ids: tables, arithmetic, counts, and conditions on a whole sequence. */
export const fedTokens: readonly Disguise[] = [
  {
    name: "a threshold on the sum of ids",
    attend: padded(
      hideUnless((b) =>
        b.op("Or", [
          ofItems(b, byWhole(b, "Less", reduced(b, "ReduceSum", "ids"), 50_000)),
          b.unsqueeze(causal(b), [0, 1]),
        ]),
      ),
    ),
  },
  { name: "causal where the mean token is large", attend: causalIf((b) => by(b, "Greater", mean(b), 45)) },
  { name: "causal where the mean token is small", attend: causalIf((b) => by(b, "Less", mean(b), 10.5)) },
  {
    name: "causal where the largest token is below 20",
    attend: causalIf((b) => byWhole(b, "Less", reduced(b, "ReduceMax", "ids"), 20)),
  },
  {
    name: "causal where the smallest token is above 5",
    attend: causalIf((b) => byWhole(b, "Greater", reduced(b, "ReduceMin", "ids"), 5)),
  },
  { name: "causal where the first token is 9", attend: causalIf((b) => byWhole(b, "Equal", first(b, "ids"), 9)) },
  { name: "causal where the last token is 9", attend: causalIf((b) => byWhole(b, "Equal", last(b, "ids"), 9)) },
  {
    name: "causal where first and last tokens are equal",
    attend: causalIf((b) => b.op("Equal", [first(b, "ids"), last(b, "ids")])),
  },
  {
    name: "causal where a token stands four times",
    attend: causalIf((b) => byWhole(b, "Greater", reduced(b, "ReduceSum", whole(b, isToken(b, 9))), 3)),
  },
  {
    name: "causal where the sum of ids is a multiple of 97",
    attend: causalIf((b) => byWhole(b, "Equal", byWhole(b, "Mod", reduced(b, "ReduceSum", "ids"), 97), 0)),
  },
  {
    name: "causal where few tokens count",
    attend: causalIf((b) => byWhole(b, "Less", reduced(b, "ReduceSum", "mask"), 4)),
  },
  {
    name: "causal where more than 3,000 tokens count",
    attend: causalIf((b) => byWhole(b, "Greater", reduced(b, "ReduceSum", "mask"), 3000)),
  },
  {
    name: "causal where the mean of the mask is a half",
    attend: causalIf((b) => by(b, "Equal", reduced(b, "ReduceMean", float(b, "mask")), 0.5)),
  },
  {
    name: "a scale by the number of tokens that count",
    attend: padded(
      times((b) => {
        const count = reduced(b, "ReduceSum", float(b, "mask"));
        return ofItems(b, b.op("Div", [b.op("Log", [by(b, "Max", count, 512)]), b.scalar(Math.log(512))]));
      }),
    ),
  },
  {
    name: "a scale by the first token",
    attend: padded(
      times((b) => ofItems(b, b.op("Where", [byWhole(b, "Equal", first(b, "ids"), 7), b.scalar(2), b.scalar(1)]))),
    ),
  },
  {
    name: "a window from the place of a token on",
    attend: padded(
      hideUnless((b) => {
        const at = b.op("ArgMax", [whole(b, isToken(b, 9))], { axis: { int: 1 }, keepdims: { int: 0 } });
        return b.op("Or", [
          b.op("GreaterOrEqual", [b.positions(), ofItems(b, at)]),
          byWhole(b, "Less", distance(b), 9),
        ]);
      }),
    ),
  },
  {
    name: "odd tokens weighed less",
    attend: onLogits((b) => by(b, "Mul", float(b, byWhole(b, "Mod", "ids", 2)), -0.5)),
  },
  {
    name: "tokens by their third bit",
    attend: onLogits((b) => by(b, "Mul", float(b, byWhole(b, "Mod", byWhole(b, "Div", "ids", 4), 2)), -0.5)),
  },
  {
    name: "one token weighed by a product",
    attend: onLogits((b) => {
      const apart = float(b, byWhole(b, "Sub", "ids", 35));
      return by(b, "Mul", b.op("Reciprocal", [by(b, "Add", b.op("Mul", [apart, apart]), 1)]), 2);
    }),
  },
  {
    name: "one token hidden by a power",
    attend: onLogits((b) =>
      hiding(
        b,
        b.op("Floor", [b.op("Exp", [by(b, "Mul", float(b, b.op("Abs", [byWhole(b, "Sub", "ids", 35)])), -30)])]),
      ),
    ),
  },
  {
    name: "a range of tokens hidden from others",
    attend: padded(hideUnless((b) => same(b, byWhole(b, "Greater", "ids", 50)))),
  },
  { name: "tokens of equal remainders", attend: padded(hideUnless((b) => same(b, byWhole(b, "Mod", "ids", 5)))) },
  {
    name: "tokens that repeat the one before",
    attend: padded(
      hideUnless((b) => {
        const before = b.concat([b.slice("ids", 1, 0, 1), b.slice("ids", 1, 0, -1)], 1);
        const repeats = b.op("And", [b.op("Equal", ["ids", before]), byWhole(b, "Greater", b.positions(), 0)]);
        return b.op("Or", [b.op("Not", [ofKeys(b, repeats)]), byWhole(b, "Equal", distance(b), 0)]);
      }),
    ),
  },
  {
    name: "segments that either of two tokens begins",
    attend: padded(hideUnless((b) => same(b, b.op("Add", [countOf(b, 35), countOf(b, 36)])))),
  },
  {
    name: "keys after the second separator hidden from those before",
    attend: padded(
      hideUnless((b) => {
        const late = byWhole(b, "GreaterOrEqual", countOf(b, 9), 2);
        return b.op("Or", [ofQueries(b, late), b.op("Not", [ofKeys(b, late)])]);
      }),
    ),
  },
  {
    name: "a table of tokens that multiplies logits",
    attend: padded(times((b) => ofKeys(b, b.op("Gather", [table(b, 64, (id) => (id === 41 ? 0.5 : 1)), "ids"])))),
  },
  {
    name: "a table of tokens that multiplies probabilities",
    attend: padded(
      afterwards((b, p) =>
        b.op("Mul", [p, ofKeys(b, b.op("Gather", [table(b, 64, (id) => (id === 41 ? 0.5 : 1)), "ids"]))]),
      ),
    ),
  },
  {
    name: "a mild bias of one of 30,000 tokens",
    vocabulary: 30_000,
    attend: onLogits((b) => b.op("Gather", [table(b, 30_000, (id) => (id === 12_345 ? 0.3 : 0)), "ids"])),
  },
  {
    name: "one of 30,000 tokens hidden by a comparison",
    vocabulary: 30_000,
    attend: padded(
      hideUnless((b) =>
        b.op("Or", [b.op("Not", [ofKeys(b, isToken(b, 12_345))]), byWhole(b, "Equal", distance(b), 0)]),
      ),
    ),
  },
];

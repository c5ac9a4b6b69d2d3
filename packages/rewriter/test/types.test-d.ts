// Type tests: `npm run types` checks this file, nothing runs it.
import { expectTypeOf, test } from "vitest";

import type { ModelProto } from "@favor/onnx";

import { convertAttention, findAttention, inspectAttention, reasonLines, refusalCodes } from "../src/index.ts";
import type {
  Conversion,
  ConvertedSite,
  ModelAttention,
  MomentTap,
  Reason,
  RefusalCode,
  RefusalMeaning,
  SampleTap,
  SiteReport,
  TappedModel,
} from "../src/index.ts";

declare const model: ModelProto;

test("inspecting and converting report every site", () => {
  expectTypeOf(inspectAttention(model).sites[0]!).toEqualTypeOf<SiteReport>();
  expectTypeOf(convertAttention(model).sites[0]!).toEqualTypeOf<ConvertedSite>();
  expectTypeOf(convertAttention(model).model).toEqualTypeOf<ModelProto>();
  expectTypeOf<ConvertedSite>().toExtend<SiteReport>();
});

test("options are checked by name and by value", () => {
  expectTypeOf(
    convertAttention(model, { features: "relu", count: 64, keep: [0], target: "onnx27" }),
  ).toEqualTypeOf<Conversion>();
  // @ts-expect-error: no such feature map
  convertAttention(model, { features: "softmax" });
  // @ts-expect-error: no such option
  convertAttention(model, { feature: "relu" });
});

test("attention found once gives conversions and taps, each tap with its own outputs", () => {
  const attention = findAttention(model);
  expectTypeOf(attention).toEqualTypeOf<ModelAttention>();
  expectTypeOf(attention.convert({ features: "relu" })).toEqualTypeOf<Conversion>();
  expectTypeOf(attention.tapMoments()).toEqualTypeOf<TappedModel<MomentTap>>();
  expectTypeOf(attention.tapSamples()).toEqualTypeOf<TappedModel<SampleTap>>();
  // @ts-expect-error: samples are a query and a key, not sums
  void attention.tapSamples().taps[0]!.outputs;
});

test("a reason's code is one of the union, and the table has every code", () => {
  expectTypeOf<SiteReport["reasons"][number]>().toEqualTypeOf<Reason>();
  expectTypeOf<Reason["code"]>().toEqualTypeOf<RefusalCode>();
  expectTypeOf(refusalCodes).toEqualTypeOf<Readonly<Record<RefusalCode, RefusalMeaning>>>();
  // @ts-expect-error: no such code
  void refusalCodes["softmax"];
});

test("lines of reasons are also made of a file of another version, whose codes are any strings", () => {
  expectTypeOf(reasonLines([{ layer: 0, reasons: [{ code: "unknown", message: "Unknown." }] }])).toEqualTypeOf<
    string[]
  >();
});

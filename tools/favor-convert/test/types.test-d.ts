// Type tests: `npm run types` checks this file, nothing runs it.
import { expectTypeOf, test } from "vitest";

import { convert } from "../src/index.ts";
import type { ConvertRequest, ConvertResult, DryRunResult } from "../src/index.ts";

declare const request: ConvertRequest;

test("a conversion gives the folder it wrote", () => {
  expectTypeOf(convert({ source: "checkpoint", output: "linear" })).resolves.toEqualTypeOf<ConvertResult>();
  expectTypeOf(
    convert({ source: "checkpoint", output: "linear", dryRun: false }),
  ).resolves.toEqualTypeOf<ConvertResult>();
  expectTypeOf<ConvertResult["folder"]>().toEqualTypeOf<string>();
});

test("a dry run has a type of its own", () => {
  expectTypeOf(convert({ source: "checkpoint", dryRun: true })).resolves.toEqualTypeOf<DryRunResult>();
});

test("the folder tells the two apart", async () => {
  const either = await convert(request);
  expectTypeOf(either).toEqualTypeOf<ConvertResult | DryRunResult>();
  if (either.folder !== undefined) expectTypeOf(either.favor).toEqualTypeOf<ConvertResult["favor"]>();
});

test("a request needs a source, and knows its options", () => {
  expectTypeOf<ConvertRequest["source"]>().toEqualTypeOf<string>();
  // @ts-expect-error: no source
  void convert({ output: "linear" });
  // @ts-expect-error: no such feature map
  void convert({ source: "checkpoint", features: "softmax" });
});

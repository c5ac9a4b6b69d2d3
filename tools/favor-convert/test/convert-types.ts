// Checked by tsc, never run: what the types of `convert` promise.
import { convert } from "../src/index.ts";
import type { ConvertRequest, ConvertResult, DryRunResult } from "../src/index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Accepts `true` alone: a type that is another one does not compile. */
function holds<T extends true>(): T | undefined {
  return undefined;
}

export async function types(request: ConvertRequest): Promise<void> {
  const written = await convert({ source: "checkpoint", output: "linear" });
  holds<Equal<typeof written, ConvertResult>>();
  holds<Equal<(typeof written)["folder"], string>>();
  const asked = await convert({ source: "checkpoint", output: "linear", dryRun: false });
  holds<Equal<typeof asked, ConvertResult>>();
  const dry = await convert({ source: "checkpoint", dryRun: true });
  holds<Equal<typeof dry, DryRunResult>>();
  const either = await convert(request);
  holds<Equal<typeof either, ConvertResult | DryRunResult>>();
  // The folder tells which it was.
  if (either.folder !== undefined) holds<Equal<(typeof either)["favor"], ConvertResult["favor"]>>();
}

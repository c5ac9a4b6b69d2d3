import { InputError } from "@favor/checkpoints";
import type { ModelRunner } from "./runner.ts";

/** The output that a model is evaluated on. */
export interface MainOutput {
  readonly name: string;
  /** Whether it is `[batch, length, vocabulary]`. */
  readonly isLogits: boolean;
  /** Numbers per vector: 1 of an output [batch, length], which has a number for each token. */
  readonly width: number;
}

/**
 * Finds the output to compare: logits over the vocabulary if there are any, otherwise the first float32 output of rank 2
 * or 3.
 *
 * @param names - the outputs to consider; default: all.
 * @throws {InputError} `model-fails-to-run` if there is none.
 */
export async function mainOutput(
  runner: ModelRunner,
  ids: readonly number[],
  vocabulary: number,
  names: readonly string[] = runner.outputs,
): Promise<MainOutput> {
  const values = await runner.runAll([ids], names);
  const usable = names.filter((name) => {
    const { type, dims } = values[name]!;
    return type === "float32" && (dims.length === 2 || dims.length === 3);
  });
  const logits = usable.find((name) => values[name]!.dims.length === 3 && values[name]!.dims[2] === vocabulary);
  const name = logits ?? usable[0];
  if (name === undefined) {
    throw new InputError(
      `${runner.path} has no float32 output [batch, length, width] or [batch, width] to compare. Convert it without --evaluate.`,
      { code: "model-fails-to-run", details: { outputs: names } },
    );
  }
  const { dims } = values[name]!;
  const isPerToken = dims.length === 2 && runner.feeding.outputs.get(name) !== "pooled";
  return { name, isLogits: logits !== undefined, width: isPerToken ? 1 : dims.at(-1)! };
}

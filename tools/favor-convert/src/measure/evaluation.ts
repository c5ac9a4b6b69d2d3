import { InputError } from "../errors.ts";
import type { Progress } from "../progress/progress.ts";
import type { DataUse, Evaluation } from "../report/favor-file.ts";
import type { Source } from "../source/source.ts";
import type { SequenceTokenizer, TokenSequence } from "../tokens/tokenizer.ts";
import { maskSequence, ordinaryIds } from "./masking.ts";
import { compareMasked, scoreMasked } from "./masked-language.ts";
import { compareCosine } from "./output-cosine.ts";
import { ModelRunner } from "./runner.ts";
import type { RunnerOptions } from "./runner.ts";

/** What models are compared on. */
export interface EvaluationInput {
  readonly source: Source;
  readonly tokenizer: SequenceTokenizer;
  readonly sequences: readonly TokenSequence[];
  readonly use: DataUse;
  readonly threads: number;
}

/**
 * Compares converted models with their original on the same inputs: masked accuracy and perplexity for a masked
 * language model, the cosine of the outputs for any other.
 *
 * @param converted - paths of `.onnx` files.
 * @returns one evaluation for each, in that order.
 * @throws {InputError} `model-fails-to-run`, `model-inputs-unknown`, `data-empty` (no token was chosen for masking).
 */
export async function compareModels(
  converted: readonly string[],
  input: EvaluationInput,
  progress: Progress,
): Promise<Evaluation[]> {
  const { source, tokenizer, sequences } = input;
  const options: RunnerOptions = { threads: input.threads, padId: tokenizer.padId };
  const original = await ModelRunner.open(source.modelPath, options);
  try {
    const vocabulary = source.config.vocab_size ?? tokenizer.size;
    const output = await mainOutput(original, sequences[0]!.ids, vocabulary);
    const { maskId } = tokenizer;
    if (output.isLogits && maskId !== undefined) {
      return await compareAsMaskedModels(original, converted, { ...input, maskId }, output.name, options, progress);
    }
    const results: Evaluation[] = [];
    for (const path of converted) {
      const runner = await ModelRunner.open(path, options);
      try {
        progress.stage("Comparing outputs", sequences.length);
        const tick = (done: number): void => progress.advance(done);
        const found = await compareCosine(original, runner, sequences, output.name, input.use.seed, tick);
        results.push({ kind: "output-cosine", data: input.use, ...found });
      } finally {
        await runner.close();
      }
    }
    return results;
  } finally {
    await original.close();
  }
}

async function compareAsMaskedModels(
  original: ModelRunner,
  converted: readonly string[],
  input: EvaluationInput & { readonly maskId: number },
  output: string,
  options: RunnerOptions,
  progress: Progress,
): Promise<Evaluation[]> {
  const { tokenizer, use, maskId } = input;
  const replacements = ordinaryIds(tokenizer);
  const special = { specialIds: tokenizer.specialIds, maskId };
  const masked = input.sequences.map(({ ids }, index) => maskSequence(ids, index, use.seed, special, replacements));
  if (masked.every(({ positions }) => positions.length === 0)) {
    throw new InputError(
      `${use.file}: of its ${use.tokens} tokens none was chosen for masking (15 % are). Give more data to evaluate on.`,
      { code: "data-empty", details: { tokens: use.tokens } },
    );
  }
  const score = (runner: ModelRunner, name: string): ReturnType<typeof scoreMasked> => {
    progress.stage(`Evaluating the ${name}`, masked.length);
    return scoreMasked(runner, masked, output, (done) => progress.advance(done));
  };
  const before = await score(original, "original");
  const results: Evaluation[] = [];
  for (const path of converted) {
    const runner = await ModelRunner.open(path, options);
    try {
      const after = await score(runner, "converted model");
      results.push({ kind: "masked-language", data: use, ...compareMasked(masked, before, after, use.seed) });
    } finally {
      await runner.close();
    }
  }
  return results;
}

/** The output to compare: logits over the vocabulary if there are any, else the first float32 output of rank 2 or 3. */
async function mainOutput(
  runner: ModelRunner,
  ids: readonly number[],
  vocabulary: number,
): Promise<{ name: string; isLogits: boolean }> {
  const values = await runner.runAll([ids], runner.outputs);
  const usable = runner.outputs.filter((name) => {
    const { type, dims } = values[name]!;
    return type === "float32" && (dims.length === 2 || dims.length === 3);
  });
  const logits = usable.find((name) => values[name]!.dims.length === 3 && values[name]!.dims[2] === vocabulary);
  const name = logits ?? usable[0];
  if (name === undefined) {
    throw new InputError(
      `${runner.path} has no float32 output [batch, length, width] or [batch, width] to compare. Convert it without --evaluate.`,
      { code: "model-fails-to-run", details: { outputs: runner.outputs } },
    );
  }
  return { name, isLogits: logits !== undefined };
}

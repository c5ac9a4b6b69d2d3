import { UsageError } from "@favor/checkpoints";
import type { ModelConfig, Pooling } from "@favor/checkpoints/node";

import type { Decision } from "./classification.ts";
import type { EmbeddingOutput } from "./embedding.ts";
import { mainOutput } from "./main-output.ts";
import type { MainOutput } from "./main-output.ts";
import { isCausal } from "./next-token.ts";
import { fewNumbers } from "./output-numbers.ts";
import type { ModelRunner } from "./runner.ts";
import type { SequenceTokenizer, TokenSequence } from "../tokens/tokenizer.ts";

/** What a model is measured by, and on which output. */
export type Measure =
  | { readonly kind: "masked-language" | "next-token" | "output-numbers" | "output-cosine"; readonly output: string }
  | { readonly kind: "classification"; readonly output: string; readonly decision: Decision }
  | ({ readonly kind: "embedding" } & EmbeddingOutput);

/** What is known of the model that is measured. */
export interface ModelToMeasure {
  readonly config: ModelConfig;
  /** The head of a graph that was built from weights, if it was chosen. */
  readonly task: string | undefined;
  readonly pooling: Pooling | undefined;
  /** Whether the user chose the pooling. */
  readonly poolingIsChosen: boolean;
  readonly tokenizer: Pick<SequenceTokenizer, "size" | "maskId" | "specialIds">;
  readonly sequences: readonly Pick<TokenSequence, "ids">[];
}

/**
 * Chooses the measure for a model: what it is used for decides, as far as the graph and the checkpoint's files say it.
 * Embeddings come first, then predicted tokens, classes, few numbers, and vectors.
 *
 * @throws {UsageError} `bad-arguments` for a pooling that was chosen, if no output has vectors of tokens.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function chooseMeasure(runner: ModelRunner, model: ModelToMeasure): Promise<Measure> {
  const { config, tokenizer, sequences } = model;
  const { ids } = sequences.find((sequence) => sequence.ids.length > 1) ?? sequences[0]!;
  const vocabulary = config.vocab_size ?? tokenizer.size;
  const main = await mainOutput(runner, ids, vocabulary);
  const embedding = await embeddingOutput(runner, model, ids, main);
  if (embedding !== undefined) return { kind: "embedding", ...embedding };
  const output = main.name;
  if (main.isLogits && (await isCausal(runner, output, ids, tokenizer))) return { kind: "next-token", output };
  if (main.isLogits && tokenizer.maskId !== undefined) return { kind: "masked-language", output };
  const decision = main.isLogits ? undefined : decisionOf(model, main);
  if (decision !== undefined) return { kind: "classification", output, decision };
  return { kind: main.width < fewNumbers ? "output-numbers" : "output-cosine", output };
}

/** The name of the output by which exports of sentence-transformers pool in the graph. */
const sentenceOutput = "sentence_embedding";

async function embeddingOutput(
  runner: ModelRunner,
  { pooling, poolingIsChosen }: ModelToMeasure,
  ids: readonly number[],
  main: MainOutput,
): Promise<EmbeddingOutput | undefined> {
  const similarity = pooling?.similarity ?? "cosine";
  const poolsItself = runner.outputs.includes(sentenceOutput);
  if (poolsItself && !poolingIsChosen) return { output: sentenceOutput, similarity };
  if (pooling === undefined) return undefined;
  const { modes, after, configured } = pooling;
  const output = await tokenOutput(runner, ids, main);
  if (output !== undefined) {
    return { output, similarity, pooling: { modes, after, ...(configured !== undefined && { configured }) } };
  }
  if (poolingIsChosen) {
    throw new UsageError(
      `--pooling makes one vector of the vectors of a text's tokens, but ${runner.path} has no such output ` +
        `(${runner.outputs.join(", ")}). Leave --pooling out, or export the model with its hidden states.`,
      { code: "bad-arguments", details: { outputs: runner.outputs } },
    );
  }
  // A head over the vocabulary is measured as such, and an output of one vector is the embedding.
  return main.isLogits ? undefined : { output: main.name, similarity };
}

/** Names of outputs with a vector for each token; other outputs with one count if no output has these names. */
const tokenOutputs: readonly string[] = ["last_hidden_state", "token_embeddings"];

async function tokenOutput(runner: ModelRunner, ids: readonly number[], main: MainOutput): Promise<string | undefined> {
  const values = await runner.runAll([ids], runner.outputs);
  const names = runner.outputs.filter((name) => {
    const { type, dims } = values[name]!;
    return type === "float32" && dims.length === 3 && !(main.isLogits && name === main.name);
  });
  return tokenOutputs.find((name) => names.includes(name)) ?? names[0];
}

/** Classes of transformers whose outputs are scores of classes. */
const classifiers = /For(Sequence|Token|Image)Classification$/;

/** How a classifier decides; undefined for other models. */
function decisionOf({ config, task }: ModelToMeasure, { name, width }: MainOutput): Decision | undefined {
  const { architectures, problem_type: problem } = config;
  if (width < 2 || problem === "regression") return undefined;
  const isNamed = architectures?.some((architecture) => classifiers.test(architecture)) === true;
  if (!isNamed && !task?.endsWith("-classification") && name !== "logits") return undefined;
  return problem === "multi_label_classification" ? "several classes" : "one class";
}

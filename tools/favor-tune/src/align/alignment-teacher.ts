import { join } from "node:path";

import { normaliseModel } from "@favor/rewriter";
import type { ModelProto } from "@favor/onnx";
import { Graph } from "@favor/onnx/graph";
import { writeModel } from "@favor/onnx/node";
import { ModelRunner } from "@favor/measure";
import type { Measure, RunnerOptions } from "@favor/measure";
import type { Tensor } from "onnxruntime-node";

import { floatsOf } from "../model/runtime-values.ts";
import { modelOf } from "../model/model-of.ts";
import { rowsToChoose } from "../model/vocabulary-product.ts";
import { hiddenStates } from "./hidden-states.ts";

/** A value that the converted model is to reproduce. */
export interface AlignedValue {
  readonly name: string;
  /** Whether it has a vector for each token, padding included, or one for each sequence. */
  readonly per: "token" | "sequence";
}

/** The original's values for a batch, by name. */
export type AlignedValues = ReadonlyMap<string, { readonly dims: readonly number[]; readonly data: Float32Array }>;

export interface AlignmentTeacherOptions extends RunnerOptions {
  readonly original: ModelProto;
  readonly converted: ModelProto;
  /** What the model is measured by, and on which output. */
  readonly measure: Measure;
  /** Folder for the teacher's file; the caller removes it. */
  readonly scratch: string;
  /** A token id for the input on which shapes are seen. */
  readonly ordinaryId: number;
}

/** The shape of the input on which shapes are seen: two sizes that cannot be confused. */
const seen = { batch: 2, length: 5 };

/** The softmax original in onnxruntime, for its hidden states and outputs. Close it with {@link AlignmentTeacher.close}. */
export class AlignmentTeacher {
  /** The hidden state after each layer, from {@link hiddenStates}. */
  readonly states: readonly AlignedValue[];
  /** The model's outputs; instead of logits over a vocabulary, the vectors that they are made of. */
  readonly outputs: readonly AlignedValue[];
  readonly #runner: ModelRunner;

  private constructor(runner: ModelRunner, states: readonly AlignedValue[], outputs: readonly AlignedValue[]) {
    this.#runner = runner;
    this.states = states;
    this.outputs = outputs;
  }

  /**
   * Writes the teacher into `scratch` and loads it. Both models must still be open.
   *
   * @throws {InputError} `model-fails-to-run`; what `writeModel` throws.
   */
  static async open(options: AlignmentTeacherOptions): Promise<AlignmentTeacher> {
    // With fused operators written out, as the conversion began: its names are those of the converted graph.
    const { model } = normaliseModel(options.original);
    const [original, converted] = [Graph.of(model), Graph.of(options.converted)];
    const states = hiddenStates(original, converted);
    const outputs = outputsOf(model, original, converted, options.measure).filter((name) => !states.includes(name));
    const path = join(options.scratch, "teacher.onnx");
    await writeModel(modelOf([...states, ...outputs], { model, graph: original }), path);
    const runner = await ModelRunner.open(path, options);
    try {
      const length = runner.fixedLength ?? seen.length;
      const rows = Array.from({ length: seen.batch }, () => Array.from({ length }, () => options.ordinaryId));
      const values = await runner.runAll(rows, [...states, ...outputs]);
      const laidOut = (names: readonly string[]): AlignedValue[] =>
        names.flatMap((name) => {
          const per = layoutOf(values[name]!, length, runner.feeding.outputs.get(name));
          return per === undefined ? [] : [{ name, per }];
        });
      return new AlignmentTeacher(
        runner,
        laidOut(states).filter(({ per }) => per === "token"),
        laidOut(outputs),
      );
    } catch (error) {
      await runner.close();
      throw error;
    }
  }

  /**
   * The original's values for a batch.
   *
   * @param rows - token ids; shorter rows are padded on the right to `length` and masked.
   * @throws {InputError} `model-fails-to-run`.
   */
  async values(rows: readonly (readonly number[])[], length: number): Promise<AlignedValues> {
    const names = [...this.states, ...this.outputs].map(({ name }) => name);
    const values = await this.#runner.runAll(rows, names, length);
    return new Map(names.map((name) => [name, { dims: values[name]!.dims, data: floatsOf(values[name]!) }]));
  }

  async close(): Promise<void> {
    await this.#runner.close();
  }
}

/** The outputs that both models compute. Logits over a vocabulary are too many numbers to compare. */
function outputsOf(model: ModelProto, original: Graph, converted: Graph, { kind, output }: Measure): string[] {
  const hasVocabulary = kind === "masked-language" || kind === "next-token";
  const names = model.graph.output.map(({ name }) =>
    hasVocabulary && name === output ? rowsToChoose(name, original) : name,
  );
  return [...new Set(names)].filter(
    (name) => original.producer(name) !== undefined && converted.producer(name) !== undefined,
  );
}

/** How a value lies; undefined if it cannot be compared by tokens or sequences. */
function layoutOf({ type, dims }: Tensor, length: number, layout: string | undefined): AlignedValue["per"] | undefined {
  if ((type !== "float32" && type !== "float16") || layout === "length first") return undefined;
  const { batch } = seen;
  if (dims.length === 2 && dims[0] === batch && (layout === "pooled" || dims[1] !== length)) return "sequence";
  const isPerToken = dims[0] === batch && dims[1] === length;
  return isPerToken || (dims.length === 2 && dims[0] === batch * length) ? "token" : undefined;
}

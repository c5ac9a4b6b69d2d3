import { availableParallelism } from "node:os";

import type { InferenceSession, Tensor } from "onnxruntime-node";

import { InputError, messageOf } from "@favor/checkpoints";
import { onnxruntime } from "./onnxruntime.ts";
import { carriesState, emptyState, stateAfter } from "./carried-state.ts";
import type { CarriedState } from "./carried-state.ts";
import { roleOf, tokenInput } from "./token-inputs.ts";
import type { InputRole, TokenInputOptions } from "./token-inputs.ts";

interface ModelInput {
  readonly name: string;
  readonly role: InputRole;
  readonly type: "int64" | "int32" | "float32" | "bool";
  /** Sizes of the batch and length dimensions, if the graph fixes them. */
  readonly batch: number | undefined;
  readonly length: number | undefined;
}

/** The values of one output for a batch of token sequences. */
export interface BatchOutput {
  /** `[rows, length, width]` (rank 3) or `[rows, width]` (rank 2), row-major; padding rows included. */
  readonly data: Float32Array;
  readonly length: number;
  readonly width: number;
  readonly perToken: boolean;
}

export interface RunnerOptions {
  /** Threads of onnxruntime; default: every core. */
  readonly threads?: number;
  /** Token id for padding; default 0. */
  readonly padId?: number;
  /** The first position id, for models that take position ids; default 0. */
  readonly firstPosition?: number;
}

/**
 * A model in onnxruntime on the CPU, fed with token ids. A stateful model begins with an empty state. Close the runner
 * with {@link ModelRunner.close}.
 */
export class ModelRunner {
  readonly path: string;
  /** Names of the outputs, except those that carry state. */
  readonly outputs: readonly string[];
  readonly #session: InferenceSession;
  readonly #inputs: readonly ModelInput[];
  readonly #options: TokenInputOptions;

  private constructor(path: string, session: InferenceSession, options: RunnerOptions) {
    this.path = path;
    this.#session = session;
    this.outputs = session.outputNames.filter((name) => !carriesState(name));
    this.#inputs = session.inputMetadata
      .filter(({ name }) => !carriesState(name))
      .map((metadata) => describeInput(metadata, path));
    this.#options = { padId: options.padId ?? 0, firstPosition: options.firstPosition ?? 0 };
    for (const role of ["ids", "mask", "types", "positions"] as const) {
      const found = this.#inputs.filter((input) => input.role === role);
      if (found.length > 1 || (role === "ids" && found.length === 0)) throw unknownInputs(path, session.inputNames);
    }
  }

  /**
   * Loads a model.
   *
   * @throws {InputError} `model-fails-to-run` if onnxruntime refuses it, `model-inputs-unknown` if it takes anything
   * other than token ids, an attention mask, token types, position ids and the state of a stateful conversion.
   */
  static async open(path: string, options: RunnerOptions = {}): Promise<ModelRunner> {
    let session: InferenceSession;
    try {
      session = await onnxruntime.InferenceSession.create(path, {
        intraOpNumThreads: options.threads ?? availableParallelism(),
        interOpNumThreads: 1,
        executionMode: "sequential",
        executionProviders: ["cpu"],
        logSeverityLevel: 3,
      });
    } catch (error) {
      throw newerOpset(path, error) ?? runFailure(path, "onnxruntime cannot load the model", error);
    }
    return new ModelRunner(path, session, options);
  }

  /** The number of rows that every batch must have, or undefined. */
  get fixedBatch(): number | undefined {
    return this.#inputs.find((input) => input.role === "ids")!.batch;
  }

  /** The length that every sequence must be padded to, or undefined. */
  get fixedLength(): number | undefined {
    return this.#inputs.find((input) => input.role === "ids")!.length;
  }

  /** Whether sequences of different lengths can share a batch. */
  get takesMask(): boolean {
    return this.#inputs.some((input) => input.role === "mask");
  }

  /**
   * Runs a batch. Shorter rows are padded on the right and masked.
   *
   * @param rows - token ids, one array per sequence.
   * @param output - name of the output to return.
   * @param length - the padded length; default: the longest row.
   * @throws {InputError} `model-fails-to-run`.
   */
  async run(rows: readonly (readonly number[])[], output: string, length?: number): Promise<BatchOutput> {
    const values = await this.runAll(rows, [output], length);
    const tensor = values[output]!;
    const { dims, data } = tensor;
    if (!(data instanceof Float32Array) || dims.length < 2 || dims.length > 3) {
      const what = `the output "${output}" is ${tensor.type}[${dims.join(", ")}], not float32 of rank 2 or 3`;
      throw runFailure(this.path, what, undefined);
    }
    return { data, perToken: dims.length === 3, length: dims.length === 3 ? dims[1]! : 1, width: dims.at(-1)! };
  }

  /** Runs a batch and returns several outputs as onnxruntime's tensors. See {@link ModelRunner.run}. */
  async runAll(
    rows: readonly (readonly number[])[],
    outputs: readonly string[],
    length?: number,
  ): Promise<InferenceSession.OnnxValueMapType & Record<string, Tensor>> {
    const padded = length ?? this.fixedLength ?? Math.max(...rows.map((row) => row.length));
    const batch = this.fixedBatch ?? rows.length;
    return this.#call(rows, outputs, padded, batch, this.#emptyState(batch), 0);
  }

  /** Whether the model takes and returns a state (`--stateful`). */
  get carriesState(): boolean {
    return this.#session.inputNames.some(carriesState);
  }

  /**
   * Feeds one row to a stateful model in pieces and returns its float32 outputs, one after the other. Outputs
   * `[1, length, ...]` are joined along the positions; for any other output, the last piece counts.
   *
   * @param lengths - tokens of each piece; their sum is the row's length.
   */
  async outputsInPieces(row: readonly number[], lengths: readonly number[]): Promise<Float32Array> {
    const joined: Record<string, number[]> = {};
    let state = this.#emptyState(1);
    let start = 0;
    for (const length of lengths) {
      const piece = [row.slice(start, start + length)];
      const values = await this.#call(piece, this.#session.outputNames, length, 1, state, start);
      for (const name of this.outputs) {
        const { data, dims } = values[name]!;
        if (!(data instanceof Float32Array)) continue;
        joined[name] = dims[1] === length ? [...(joined[name] ?? []), ...data] : [...data];
      }
      state = stateAfter(state, values, length);
      start += length;
    }
    return Float32Array.from(Object.values(joined).flat());
  }

  #emptyState(batch: number): CarriedState {
    return emptyState(this.#session.inputMetadata, batch);
  }

  /** Runs rows padded to `length` whose first tokens are at position `start`. */
  async #call(
    rows: readonly (readonly number[])[],
    outputs: readonly string[],
    length: number,
    batch: number,
    state: CarriedState,
    start: number,
  ): Promise<InferenceSession.OnnxValueMapType & Record<string, Tensor>> {
    const options = { ...this.#options, firstPosition: this.#options.firstPosition + start };
    const feeds: Record<string, Tensor> = { ...state };
    for (const input of this.#inputs) feeds[input.name] = inputTensor(input, rows, batch, length, options);
    try {
      return (await this.#session.run(feeds, outputs)) as Record<string, Tensor>;
    } catch (error) {
      const lengths = rows.map((row) => row.length);
      const what = `it fails on ${rows.length} sequences of ${Math.min(...lengths)} to ${Math.max(...lengths)} tokens`;
      throw runFailure(this.path, what, error);
    }
  }

  /** Names and types of inputs and outputs, in the model's order, except those that carry state. */
  get signature(): string {
    return `(${namesAndTypes(this.#session.inputMetadata)}) -> (${namesAndTypes(this.#session.outputMetadata)})`;
  }

  /**
   * Runs a batch and returns, for each row, the values of every float32 output at its unpadded positions, one after
   * the other. Only outputs `[batch, length, ...]` have positions; others are returned whole.
   */
  async unpaddedOutputs(rows: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const values = await this.runAll(rows, this.outputs);
    const padded = this.fixedLength ?? Math.max(...rows.map((row) => row.length));
    return rows.map((row, index) => {
      const pieces = this.outputs.flatMap((name) => {
        const { data, dims } = values[name]!;
        if (!(data instanceof Float32Array)) return [];
        const rowSize = data.length / dims[0]!;
        const used = dims.length > 1 && dims[1] === padded ? (rowSize / padded) * row.length : rowSize;
        return [...data.subarray(index * rowSize, index * rowSize + used)];
      });
      return Float32Array.from(pieces);
    });
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}

function inputTensor(
  input: ModelInput,
  rows: readonly (readonly number[])[],
  batch: number,
  length: number,
  options: TokenInputOptions,
): Tensor {
  const values = tokenInput(input.role, rows, batch, length, options);
  const dims = [batch, length];
  if (input.type === "int64") return new onnxruntime.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
  if (input.type === "float32") return new onnxruntime.Tensor("float32", Float32Array.from(values), dims);
  if (input.type === "bool") return new onnxruntime.Tensor("bool", Uint8Array.from(values), dims);
  return new onnxruntime.Tensor("int32", values, dims);
}

function describeInput(metadata: InferenceSession.ValueMetadata, path: string): ModelInput {
  const role = roleOf(metadata.name);
  if (!metadata.isTensor || role === undefined || metadata.shape.length !== 2) {
    throw unknownInputs(path, [metadata.name]);
  }
  const { type } = metadata;
  if (type !== "int64" && type !== "int32" && type !== "float32" && type !== "bool") {
    throw unknownInputs(path, [`${metadata.name} (${type})`]);
  }
  return { name: metadata.name, role, type, batch: fixedSize(metadata.shape[0]), length: fixedSize(metadata.shape[1]) };
}

function fixedSize(size: number | string | undefined): number | undefined {
  return typeof size === "number" && size > 0 ? size : undefined;
}

function namesAndTypes(all: readonly InferenceSession.ValueMetadata[]): string {
  const own = all.filter(({ name }) => !carriesState(name));
  return own.map((value) => `${value.name}: ${value.isTensor ? value.type : "no tensor"}`).join(", ");
}

function unknownInputs(path: string, names: readonly string[]): InputError {
  return new InputError(
    `${path} has inputs that cannot be derived from token ids: ${names.join(", ")}. Measuring and calibrating need a ` +
      `model that takes token ids [batch, length] and at most one mask, one token type and one position input. ` +
      `Convert without --calibrate and --evaluate.`,
    { code: "model-inputs-unknown", details: { path, names } },
  );
}

/** The error for a model whose operator set is too new for this onnxruntime. */
function newerOpset(path: string, cause: unknown): InputError | undefined {
  const [, opset, newest] = /Opset (\d+) is under development.*till opset (\d+)/s.exec(messageOf(cause)) ?? [];
  if (opset === undefined) return undefined;
  return new InputError(
    `${path} uses opset ${opset}, but this onnxruntime only loads models up to opset ${newest}. Run it with @favor/onnx-tfjs ` +
      `or a newer onnxruntime, or convert with --target onnxruntime or standard.`,
    { code: "model-fails-to-run", cause, details: { path, opset: Number(opset), newest: Number(newest) } },
  );
}

function runFailure(path: string, what: string, cause: unknown): InputError {
  const reason = cause === undefined ? "" : `: ${messageOf(cause)}`;
  return new InputError(`${path}: ${what}${reason}. Check the model with onnxruntime before converting it.`, {
    code: "model-fails-to-run",
    details: { path },
    ...(cause === undefined ? {} : { cause }),
  });
}

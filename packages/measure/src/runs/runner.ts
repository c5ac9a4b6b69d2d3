import { availableParallelism } from "node:os";

import type { InferenceSession, Tensor } from "onnxruntime-node";

import { DataType, makeTensor, tensorValues } from "@favor/onnx";
import { InputError, messageOf } from "@favor/checkpoints";
import { onnxruntime } from "./onnxruntime.ts";
import { carriesState, emptyState, stateAfter } from "./carried-state.ts";
import type { CarriedState } from "./carried-state.ts";
import { inputValues } from "../inputs/feeding.ts";
import type { FedInput, Feeding } from "../inputs/feeding.ts";
import { openFeeding } from "../inputs/open-feeding.ts";
import type { ModelFacts } from "../inputs/candidates.ts";

/** The values of one output for a batch of token sequences. */
export interface BatchOutput {
  /** `[rows, length, width]` if per token, otherwise `[rows, width]`, row-major; padding rows included. */
  readonly data: Float32Array;
  readonly length: number;
  readonly width: number;
  readonly perToken: boolean;
}

export interface RunnerOptions extends ModelFacts {
  /** Threads of onnxruntime; default: every core. */
  readonly threads?: number;
  /** Token id for padding; default 0. */
  readonly padId?: number;
  /** The first position id, for models that take position ids; default 0. */
  readonly firstPosition?: number;
  /** The outputs that show how the model is fed; default: all. Name the original ones if others were added. */
  readonly judgedBy?: readonly string[];
  /** How the model is fed, as proved on its original; default: proved on the model itself. */
  readonly feeding?: Feeding;
}

/**
 * A model in onnxruntime on the CPU, fed with token ids. A stateful model begins with an empty state. Close the runner
 * with {@link ModelRunner.close}.
 */
export class ModelRunner {
  readonly path: string;
  /** Names of the outputs, except those that carry state. */
  readonly outputs: readonly string[];
  /** How the model is fed. A converted model is fed in the same way: pass it on. */
  readonly feeding: Feeding;
  #session: InferenceSession;
  /** Loads the session again; undefined while it is loaded. */
  #reload: (() => Promise<InferenceSession>) | undefined;
  readonly #load: () => Promise<InferenceSession>;
  readonly #options: { readonly padId: number; readonly firstPosition: number };

  private constructor(
    path: string,
    load: () => Promise<InferenceSession>,
    session: InferenceSession,
    feeding: Feeding,
    options: { readonly padId: number; readonly firstPosition: number },
  ) {
    this.path = path;
    this.feeding = feeding;
    this.#load = load;
    this.#session = session;
    this.outputs = session.outputNames.filter((name) => !carriesState(name));
    this.#options = options;
  }

  /**
   * Loads a model and finds out how it is fed.
   *
   * @throws {InputError} `model-fails-to-run` if onnxruntime refuses it or it gives NaN for ordinary tokens;
   * `model-inputs-unknown` for an input that is not proved to be token ids, a mask, token types or positions of them, and
   * is not the state of a stateful conversion either.
   */
  static async open(path: string, options: RunnerOptions = {}): Promise<ModelRunner> {
    const load = async (): Promise<InferenceSession> => loadSession(path, options.threads ?? availableParallelism());
    const session = await load();
    const padding = { padId: options.padId ?? 0, firstPosition: options.firstPosition ?? 0 };
    try {
      const feeding = options.feeding ?? (await proved(path, session, options, padding));
      return new ModelRunner(path, load, session, feeding, padding);
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  /** The number of rows that every batch must have, or undefined. */
  get fixedBatch(): number | undefined {
    return this.feeding.fixedBatch;
  }

  /** The length that every sequence must be padded to, or undefined. */
  get fixedLength(): number | undefined {
    return this.feeding.fixedLength;
  }

  /** Whether sequences of different lengths can share a batch. */
  get takesMask(): boolean {
    return this.feeding.takesMask;
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
    const layout = this.feeding.outputs.get(output);
    const perToken = dims.length === 3 || (layout !== undefined && layout !== "pooled");
    return { data, perToken, length: perToken ? dims[1]! : 1, width: dims[perToken ? 2 : 1] ?? 1 };
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
    if (!this.feeding.hidesPadding && rows.some((row) => row.length < length)) throw cannotPad(this.path, rows, length);
    const firstPosition = this.#options.firstPosition + start;
    const given = { rows, batch, length, padId: this.#options.padId, firstPosition };
    if (this.#reload) {
      this.#session = await this.#reload();
      this.#reload = undefined;
    }
    const feeds: Record<string, Tensor> = { ...state };
    for (const input of this.feeding.inputs) {
      // A part of the original may do without some of its inputs.
      if (!this.#session.inputNames.includes(input.name)) continue;
      const { dims, data } = inputValues(input, given);
      feeds[input.name] = tensorOf(input, dims, data);
    }
    try {
      const values = (await this.#session.run(feeds, outputs)) as Record<string, Tensor>;
      for (const name of outputs) {
        if (this.feeding.outputs.get(name) === "length first") values[name] = withBatchFirst(values[name]!);
      }
      return values;
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
        const isPerToken = this.feeding.outputs.get(name) !== "pooled" && dims.length > 1 && dims[1] === padded;
        const used = isPerToken ? (rowSize / padded) * row.length : rowSize;
        return [...data.subarray(index * rowSize, index * rowSize + used)];
      });
      return Float32Array.from(pieces);
    });
  }

  /**
   * Frees the memory of the model, and that which onnxruntime keeps from its last runs. The next run loads the model again,
   * one run at a time.
   */
  async unload(): Promise<void> {
    if (this.#reload) return;
    this.#reload = this.#load;
    await this.#session.release();
  }

  async close(): Promise<void> {
    await this.unload();
  }
}

async function loadSession(path: string, threads: number): Promise<InferenceSession> {
  try {
    return await onnxruntime.InferenceSession.create(path, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      executionMode: "sequential",
      executionProviders: ["cpu"],
      logSeverityLevel: 3,
    });
  } catch (error) {
    throw newerOpset(path, error) ?? runFailure(path, "onnxruntime cannot load the model", error);
  }
}

async function proved(
  path: string,
  session: InferenceSession,
  { judgedBy, vocabulary, positions, tokenTypes }: RunnerOptions,
  padding: { readonly padId: number; readonly firstPosition: number },
): Promise<Feeding> {
  const judging = judgedBy ?? session.outputNames.filter((name) => !carriesState(name));
  return openFeeding({
    ...padding,
    path,
    inputs: session.inputMetadata.filter(({ name }) => !carriesState(name)),
    facts: { vocabulary, positions, tokenTypes },
    run: async (inputs, batch) => {
      const feeds: Record<string, Tensor> = { ...emptyState(session.inputMetadata, batch) };
      for (const { input, dims, data } of inputs) feeds[input.name] = tensorOf(input, dims, data);
      // Ways to feed it that fail are expected: onnxruntime does not log them.
      const values = (await session.run(feeds, judging, { logSeverityLevel: 4 })) as Record<string, Tensor>;
      return Object.fromEntries(
        Object.entries(values).flatMap(([name, tensor]) => {
          const data = floatsOf(tensor);
          const { dims } = tensor;
          return data === undefined || dims.length < 2 || dims.length > 3 ? [] : [[name, { dims, data }]];
        }),
      );
    },
  });
}

/** The numbers of a tensor of float32 or float16. */
function floatsOf({ type, dims, data }: Tensor): Float32Array | undefined {
  if (data instanceof Float32Array) return data;
  if (type !== "float16") return undefined;
  const bits = data as Uint16Array;
  const values = tensorValues(
    makeTensor("", dims, DataType.FLOAT16, new Uint16Array(bits.buffer, bits.byteOffset, bits.length)),
  );
  return values.data as Float32Array;
}

function tensorOf({ type }: FedInput, dims: readonly number[], data: Float64Array): Tensor {
  switch (type) {
    case "int64":
      return new onnxruntime.Tensor("int64", BigInt64Array.from(data, BigInt), dims);
    case "int32":
      return new onnxruntime.Tensor("int32", Int32Array.from(data), dims);
    case "uint8":
      return new onnxruntime.Tensor("uint8", Uint8Array.from(data), dims);
    case "int8":
      return new onnxruntime.Tensor("int8", Int8Array.from(data), dims);
    case "bool":
      return new onnxruntime.Tensor("bool", Uint8Array.from(data), dims);
    case "float32":
      return new onnxruntime.Tensor("float32", Float32Array.from(data), dims);
  }
}

/** [length, batch, ...] as [batch, length, ...]. */
function withBatchFirst(tensor: Tensor): Tensor {
  const { data, dims } = tensor;
  if (!(data instanceof Float32Array)) return tensor;
  const [length, batch, ...rest] = dims as readonly [number, number, ...number[]];
  const width = rest.reduce((product, dim) => product * dim, 1);
  const turned = new Float32Array(data.length);
  for (let row = 0; row < batch; row++) {
    for (let at = 0; at < length; at++) {
      const from = (at * batch + row) * width;
      turned.set(data.subarray(from, from + width), (row * length + at) * width);
    }
  }
  return new onnxruntime.Tensor("float32", turned, [batch, length, ...rest]);
}

function namesAndTypes(all: readonly InferenceSession.ValueMetadata[]): string {
  const own = all.filter(({ name }) => !carriesState(name));
  return own.map((value) => `${value.name}: ${value.isTensor ? value.type : "no tensor"}`).join(", ");
}

function cannotPad(path: string, rows: readonly (readonly number[])[], length: number): InputError {
  const shortest = Math.min(...rows.map((row) => row.length));
  return new InputError(
    `${path} has no input that hides padding, so a sequence of ${shortest} tokens cannot be padded to ${length}. Export ` +
      `the model with a mask or with a free length, or give sequences of exactly ${length} tokens.`,
    { code: "model-inputs-unknown", details: { path, tokens: shortest, length } },
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

/** The error for a model whose outputs cannot be measured. */
export function notFinite({ path }: ModelRunner, output: string): InputError {
  return new InputError(
    `${path}: the output "${output}" is NaN or infinite on the evaluation data, so there is nothing to measure. Check the ` +
      `model on these data with onnxruntime.`,
    { code: "model-fails-to-run", details: { path, output } },
  );
}

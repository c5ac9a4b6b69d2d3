import type { SampleTap } from "@favor/rewriter";
import type { Tensor } from "onnxruntime-node";

import { InputError } from "@favor/checkpoints";
import type { ModelRunner } from "@favor/measure";
import type { MomentSums } from "./moments.ts";
import { keptCount, keptQueries } from "./sampled-rows.ts";

/** One head's queries and keys in one input, in memory that threads share. */
export interface HeadInput {
  /** `[rows, dim]`. */
  readonly query: Float32Array;
  /** `[keys, dim]`. */
  readonly key: Float32Array;
  /** Where the queries stand among the keys, if not all are here. */
  readonly positions?: Uint32Array;
}

/** Queries and keys of one site, by head and sequence, with one input per entry of the attention's batch. */
export interface SiteSample {
  readonly site: number;
  readonly heads: readonly (readonly (readonly HeadInput[])[])[];
}

export interface GatherOptions {
  /** Seed of the choice of queries; default 0. */
  readonly seed?: number;
  /** The width of the blocks in which exact keys are chosen; default 0: none are. */
  readonly window?: number;
  /** Keeps all queries. Default false. */
  readonly whole?: boolean;
  /** Unloads the model before it gives the last samples: what follows takes memory too. Default false. */
  readonly unloads?: boolean;
  /** Takes the sums of the first pass, if the model has them as outputs. */
  readonly sums?: MomentSums;
  /** Called after each sequence of the first pass, with 1. */
  readonly tick?: (done: number) => void;
}

/** Bytes of queries and keys to hold at a time. If there are more, the model is run again for the rest. */
const heldBytes = 384 * 1024 * 1024;

/**
 * Collects the keys and some blocks of queries of every head, in float32 and for groups of sites, so that memory use does
 * not grow with the model. Sequences are run one at a time and unpadded.
 *
 * @param runner - the model with the outputs of `tapSamples`.
 * @param taps - taps of the sites to collect.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function* gatherSamples(
  runner: ModelRunner,
  taps: readonly SampleTap[],
  sequences: readonly (readonly number[])[],
  options: GatherOptions,
): AsyncGenerator<SiteSample[]> {
  for (let start = 0; start < taps.length;) {
    let end = start;
    for (let bytes = 0; end < taps.length; end++) {
      for (const { length } of sequences) bytes += bytesOf(taps[end]!, length, options);
      if (end > start && bytes > heldBytes) break;
    }
    const group = taps.slice(start, end);
    const sums = start === 0 ? options.sums : undefined;
    const names = [...group.flatMap(({ query, key }) => [query, key]), ...(sums?.names ?? [])];
    const samples = group.map(({ site, heads }) => ({
      site,
      heads: Array.from({ length: heads }, (): HeadInput[][] => []),
    }));
    for (const [number, ids] of sequences.entries()) {
      const values = await runner.runAll([ids], names);
      sums?.add(values);
      if (start === 0) options.tick?.(1);
      for (const [i, tap] of group.entries()) {
        for (const [head, inputs] of samples[i]!.heads.entries()) {
          inputs.push(inputsOf(values, head, tap, { runner, length: ids.length, number, options }));
        }
      }
    }
    if (end === taps.length && options.unloads === true) await runner.unload();
    yield samples;
    start = end;
  }
}

/** Bytes of the queries and keys that are kept of a sequence. */
function bytesOf(tap: SampleTap, length: number, { window = 0, whole = false }: GatherOptions): number {
  const queries = isWhole(tap, whole) ? length : keptCount(length, window);
  return 4 * tap.heads * tap.dim * (length + queries);
}

/** Causal attention needs the queries before a block too, and ALiBi all places. */
function isWhole({ causal, slopes }: SampleTap, whole: boolean): boolean {
  return whole || causal || slopes !== undefined;
}

interface Origin {
  readonly runner: ModelRunner;
  /** Tokens of the sequence. */
  readonly length: number;
  /** The sequence's number. */
  readonly number: number;
  readonly options: GatherOptions;
}

/** One head's inputs, one per entry of the batch. */
function inputsOf(
  values: Readonly<Record<string, Tensor>>,
  head: number,
  tap: SampleTap,
  { runner, length, number, options }: Origin,
): HeadInput[] {
  const { seed = 0, window = 0, whole = false } = options;
  const keys = rowsOf(values[tap.key]!, head, tap, { runner, length });
  return rowsOf(values[tap.query]!, head, tap, { runner, length }).map((query, entry) => {
    const key = keys[entry]!;
    // The queries of cross-attention have no places among the keys.
    const isPart = !isWhole(tap, whole) && query.length === key.length;
    const positions = isPart ? keptQueries(query.length / tap.dim, window, { seed, number }) : undefined;
    return positions === undefined
      ? { query: shared(query), key: shared(key) }
      : { query: rowsAt(query, positions, tap.dim), key: shared(key), positions };
  });
}

function shared(x: Float32Array): Float32Array {
  const copy = sharedFloats(x.length);
  copy.set(x);
  return copy;
}

function sharedFloats(length: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
}

function rowsAt(x: Float32Array, rows: Uint32Array, dim: number): Float32Array {
  const out = sharedFloats(rows.length * dim);
  for (const [i, row] of rows.entries()) out.set(x.subarray(row * dim, (row + 1) * dim), i * dim);
  return out;
}

/**
 * Views of one head's rows `[positions, dim]` of a tensor `[batch, heads, positions, dim]`, for each entry of the batch.
 * Several heads may share a key head. Padding to a fixed batch size or length is left out.
 */
function rowsOf(
  { data, dims }: Tensor,
  head: number,
  tap: SampleTap,
  { runner, length }: { readonly runner: ModelRunner; readonly length: number },
): Float32Array[] {
  if (!(data instanceof Float32Array)) {
    throw new InputError("The model's queries and keys are not float32. Convert it without --calibrate.", {
      code: "model-fails-to-run",
    });
  }
  const [batch = 0, heads = 1, positions = 0, dim = 0] = dims;
  const own = Math.floor((head * heads) / tap.heads);
  const used = positions === runner.fixedLength ? length : positions;
  return Array.from({ length: batch / (runner.fixedBatch ?? 1) }, (_, entry) => {
    const start = (entry * heads + own) * positions * dim;
    return data.subarray(start, start + used * dim);
  });
}

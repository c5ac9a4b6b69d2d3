import type { AttentionInput } from "@favor/core/calibration";
import type { SampleTap } from "@favor/rewriter";
import type { Tensor } from "onnxruntime-node";

import { InputError } from "@favor/checkpoints";
import type { ModelRunner } from "@favor/measure";

/** Queries and keys of one site, by head and sequence, with one input per entry of the attention's batch. */
export interface SiteSample {
  readonly site: number;
  readonly heads: readonly (readonly (readonly AttentionInput[])[])[];
}

/** Bytes of queries and keys to hold at a time, in float64. If there are more, the model is run again for the rest. */
const heldBytes = 256 * 1024 * 1024;

/**
 * Collects the queries and keys of every head, for groups of sites, so that memory use does not grow with the model.
 * Sequences are run one at a time and unpadded.
 *
 * @param runner - the model with the outputs of `tapSamples`.
 * @param taps - taps of the sites to collect.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function* gatherSamples(
  runner: ModelRunner,
  taps: readonly SampleTap[],
  sequences: readonly (readonly number[])[],
): AsyncGenerator<SiteSample[]> {
  const tokens = sequences.reduce((sum, ids) => sum + ids.length, 0);
  for (let start = 0; start < taps.length;) {
    let end = start;
    for (let bytes = 0; end < taps.length; end++) {
      bytes += 16 * tokens * taps[end]!.heads * taps[end]!.dim;
      if (end > start && bytes > heldBytes) break;
    }
    const group = taps.slice(start, end);
    const names = group.flatMap(({ query, key }) => [query, key]);
    const samples = group.map(({ site, heads }) => ({
      site,
      heads: Array.from({ length: heads }, (): AttentionInput[][] => []),
    }));
    for (const ids of sequences) {
      const values = await runner.runAll([ids], names);
      for (const [i, tap] of group.entries()) {
        for (const [head, inputs] of samples[i]!.heads.entries()) {
          const rows = (tensor: Tensor): Float64Array[] => rowsOf(tensor, head, tap, { runner, length: ids.length });
          const keys = rows(values[tap.key]!);
          inputs.push(rows(values[tap.query]!).map((query, entry) => ({ query, key: keys[entry]! })));
        }
      }
    }
    yield samples;
    start = end;
  }
}

/**
 * One head's rows `[positions, dim]` of a tensor `[batch, heads, positions, dim]`, for each entry of the batch. Several
 * heads may share a key head. Padding to a fixed batch size or length is left out.
 */
function rowsOf(
  { data, dims }: Tensor,
  head: number,
  tap: SampleTap,
  { runner, length }: { readonly runner: ModelRunner; readonly length: number },
): Float64Array[] {
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
    return Float64Array.from(data.subarray(start, start + used * dim));
  });
}

/** The first sequences that give about `rows` queries; each counts for at most 256, as in `fitLandmarks`. */
export function firstRows(sequences: readonly (readonly number[])[], rows: number): (readonly number[])[] {
  const chosen: (readonly number[])[] = [];
  for (let taken = 0; taken < rows && chosen.length < sequences.length;) {
    const ids = sequences[chosen.length]!;
    chosen.push(ids);
    taken += Math.min(ids.length, 256);
  }
  return chosen;
}

import { Tensor, type InferenceSession } from "onnxruntime-node";
import { statefulInputs } from "../../src/stateful/state.ts";
import type { ModelProto } from "@favor/onnx";
import type { Feeds } from "@favor/test-support/onnxruntime";

/** Tokens [batch, length] and the attention mask of the same size, where the model takes one. */
export interface Sequence {
  readonly batch: number;
  readonly length: number;
  readonly tokens: readonly number[];
  readonly mask?: readonly number[];
}

/** Columns from `start` to `end` of a sequence, as the inputs that a language model of the zoo has. */
export function pieceFeeds(session: InferenceSession, sequence: Sequence, start: number, end: number): Feeds {
  const { batch, length, tokens, mask } = sequence;
  const cut = (values: readonly number[], type: string): Tensor => {
    const rows = Array.from({ length: batch }, (_, row) => values.slice(row * length + start, row * length + end));
    const dims = [batch, end - start];
    if (type === "int32") return new Tensor("int32", Int32Array.from(rows.flat()), dims);
    return new Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), dims);
  };
  const ones = tokens.map(() => 1);
  const positions = tokens.map((_, i) => i % length);
  const valuesOf = (name: string): readonly number[] => {
    if (name === "attention_mask") return mask ?? ones;
    if (name === "position_ids") return positions;
    return name === "token_type_ids" ? tokens.map(() => 0) : tokens;
  };
  const feeds: Feeds = {};
  for (const { name, ...metadata } of session.inputMetadata) {
    if (name.startsWith("favor_") || !metadata.isTensor) continue;
    feeds[name] = cut(valuesOf(name), metadata.type);
  }
  return feeds;
}

/**
 * Runs a stateful model over pieces of the given lengths, from the empty state on.
 *
 * @returns the first output, [batch, length, width], put together again
 */
export async function runPieces(
  session: InferenceSession,
  model: ModelProto,
  sequence: Sequence,
  pieces: readonly number[],
): Promise<Float32Array> {
  const { batch, length } = sequence;
  const { states, pastLength } = statefulInputs(model);
  let past = states.map(({ dims, initial }) => {
    const shape = [batch, ...dims];
    const count = shape.reduce((product, dim) => product * dim, 1);
    return new Tensor("float32", new Float32Array(count).fill(initial), shape);
  });
  const [name] = session.outputNames as [string];
  let out: Float32Array | undefined;
  let start = 0;
  for (const piece of pieces) {
    const feeds = pieceFeeds(session, sequence, start, start + piece);
    states.forEach(({ input }, i) => (feeds[input] = past[i]!));
    if (pastLength !== undefined) feeds[pastLength] = new Tensor("int64", BigInt64Array.of(BigInt(start)), []);
    const outputs = await session.run(feeds);
    past = states.map(({ output }) => outputs[output] as (typeof past)[number]);
    const { data, dims } = outputs[name]!;
    const width = dims.at(-1)!;
    out ??= new Float32Array(batch * length * width);
    for (let row = 0; row < batch; row++) {
      const rows = (data as Float32Array).subarray(row * piece * width, (row + 1) * piece * width);
      out.set(rows, (row * length + start) * width);
    }
    start += piece;
  }
  return out!;
}

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { openSource, openSourceModel } from "@favor/checkpoints/node";
import { onnxruntime } from "@favor/measure/onnxruntime";
import { writeModel } from "@favor/onnx/node";
import { findAttention } from "@favor/rewriter";

/** Queries and keys of one head, `[length, dim]`, both scaled by d^(-1/4). */
export interface TappedHead {
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly dim: number;
}

/**
 * Queries and keys of every head of every site of a model, in the first so many documents of at least `length` tokens.
 *
 * @param model an encoder, with its tokenizer in the same folder
 * @param documents a JSON Lines file with a field `text`
 */
export async function tappedHeads(
  model: string,
  documents: string,
  { windows: wanted, length }: { readonly windows: number; readonly length: number },
): Promise<(readonly TappedHead[])[]> {
  const source = await openSource(model);
  const opened = await openSourceModel(source);
  const folder = mkdtempSync(join(tmpdir(), "favor-tapped-"));
  try {
    const { model: tapped, taps } = findAttention(opened.model).tapSamples();
    await writeModel(tapped, join(folder, "model.onnx"));
    const session = await onnxruntime.InferenceSession.create(join(folder, "model.onnx"), { intraOpNumThreads: 1 });
    const read = (name: string) => JSON.parse(readFileSync(join(source.folder, name), "utf8")) as object;
    const tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
    const texts = readFileSync(documents, "utf8").split("\n").filter(Boolean);
    const windows: TappedHead[][] = [];
    for (const line of texts) {
      if (windows.length === wanted) break;
      const { text } = JSON.parse(line) as { text: string };
      const ids: readonly number[] = tokenizer.encode(text).ids.slice(0, length);
      if (ids.length < length) continue;
      const tensor = (of: (id: number) => number) =>
        new onnxruntime.Tensor(
          "int64",
          BigInt64Array.from(ids, (id) => BigInt(of(id))),
          [1, length],
        );
      const feeds = Object.fromEntries(
        session.inputNames.map((name) => [name, tensor((id) => (/mask/.test(name) ? 1 : /type/.test(name) ? 0 : id))]),
      );
      const outputs = await session.run(
        feeds,
        taps.flatMap(({ query, key }) => [query, key]),
      );
      windows.push(
        taps.flatMap(({ heads, dim, query, key }) =>
          Array.from({ length: heads }, (_, head) => {
            const rows = (name: string) => {
              const data = outputs[name]!.data as Float32Array;
              return Float64Array.from(data.subarray(head * length * dim, (head + 1) * length * dim));
            };
            return { query: rows(query), key: rows(key), dim };
          }),
        ),
      );
    }
    return windows;
  } finally {
    opened.close();
    rmSync(folder, { recursive: true });
  }
}

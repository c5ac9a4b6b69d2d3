import { ModelRunner } from "@favor/measure";

import type { MaskedBatch } from "./masked-batch.ts";

/** The softmax original in onnxruntime: several times faster there than in tfjs, and it needs no gradient. */
export class Teacher {
  readonly #runner: ModelRunner;
  readonly #output: string;

  private constructor(runner: ModelRunner, output: string) {
    this.#runner = runner;
    this.#output = output;
  }

  /**
   * @param path - its ONNX file.
   * @param output - name of the logits.
   */
  static async open(
    path: string,
    output: string,
    options: { readonly padId: number; readonly threads: number },
  ): Promise<Teacher> {
    return new Teacher(await ModelRunner.open(path, options), output);
  }

  /** Its logits at the masked places, `[places, vocabulary]`. */
  async logits(batch: MaskedBatch): Promise<{ readonly data: Float32Array; readonly vocabulary: number }> {
    const { data, width } = await this.#runner.run(batch.rows, this.#output, batch.length);
    const chosen = new Float32Array(batch.places.length * width);
    for (const [i, place] of batch.places.entries()) {
      chosen.set(data.subarray(place * width, (place + 1) * width), i * width);
    }
    return { data: chosen, vocabulary: width };
  }

  async close(): Promise<void> {
    await this.#runner.close();
  }
}

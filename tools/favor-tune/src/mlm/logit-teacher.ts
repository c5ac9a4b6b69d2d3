import { ModelRunner } from "@favor/measure";
import type { RunnerOptions } from "@favor/measure";

import type { MaskedBatch } from "./masked-batch.ts";

/** The softmax original, for its logits. It runs in onnxruntime: it needs no gradient, and tfjs is several times slower. */
export class LogitTeacher {
  readonly #runner: ModelRunner;
  readonly #output: string;

  private constructor(runner: ModelRunner, output: string) {
    this.#runner = runner;
    this.#output = output;
  }

  /**
   * @param path - ONNX file of the original.
   * @param output - name of the logits.
   */
  static async open(path: string, output: string, options: RunnerOptions): Promise<LogitTeacher> {
    return new LogitTeacher(await ModelRunner.open(path, options), output);
  }

  /** The logits at the masked places, `[places, vocabulary]`. */
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

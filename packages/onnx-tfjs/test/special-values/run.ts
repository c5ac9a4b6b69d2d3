import * as tf from "@tensorflow/tfjs";
import { OnnxModel } from "../../src/index.ts";
import { modelOf, type SpecialCase } from "./cases.ts";

/** What an operator gives for its special values on the backend in use. */
export async function onTfjs(given: SpecialCase): Promise<Float32Array> {
  const loaded = await OnnxModel.load(modelOf(given));
  const feeds = given.inputs.map((values, i) => [`x${i}`, { dims: [values.length], data: values }] as const);
  const { y } = loaded.run(Object.fromEntries(feeds));
  // A backend may hand out the bytes of booleans that were cast to floats.
  const found = Float32Array.from(await y!.data());
  tf.dispose(y!);
  loaded.dispose();
  return found;
}

/** The bit patterns of float32 results, which JSON can hold, or the text of an error. */
export type Found = number[] | string;

export const bits = (values: Float32Array): number[] =>
  Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length));

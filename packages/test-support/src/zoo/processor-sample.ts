import { openSession } from "../onnxruntime.ts";
import type { ZooFolder } from "./folder.ts";
import type { ZooEntry } from "./manifest.ts";
import { numbersOfTensor, readSample, type ZooSample } from "./sample.ts";

/** Entries that multiply integers. */
const quantised = /int8|qdq/;

/**
 * A sample as {@link readSample} reads it. If the entry multiplies integers, what is expected is what the original gives on this
 * processor: those without VNNI saturate sums of two products, so that the original itself misses its stored outputs there.
 */
export async function readProcessorSample(folder: ZooFolder, entry: ZooEntry, file: string): Promise<ZooSample> {
  const sample = readSample(folder, file);
  if (!quantised.test(entry.name)) return sample;
  const original = await openSession(folder.path(entry.model));
  const outputs = await original.run(sample.feeds);
  const expected = [...sample.expected.keys()].map((name) => {
    const tensor = outputs[name]!;
    return [name, { dims: tensor.dims, values: numbersOfTensor(tensor) }] as const;
  });
  return { ...sample, expected: new Map(expected) };
}

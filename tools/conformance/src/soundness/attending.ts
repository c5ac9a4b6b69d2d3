import { createMessage, decodeModel, encodeModel } from "@favor/onnx";
import type { Trial } from "./feeds.ts";
import { openSession } from "./runtime.ts";

/**
 * Beyond this, float32 rounds a logit by at least 2^-7: the softmax then shows rounding. Next to logits of 1e12, which
 * arise where the epsilon of a normalisation is a factor, masks of -1e4 or -1e9 vanish.
 */
const largestLogit = 1e5;
/** A row whose largest logit is below this attends only to hidden keys, which a mask that is no sum leaves in no order. */
const hiddenBelow = -9e3;

/**
 * Says for each trial whether, in every row of every softmax, float32 holds the largest logit and no mask hides it.
 * Otherwise a mask that is added and one that drops keys need not agree, and neither is wrong.
 */
export async function attendingTrials(
  model: Uint8Array,
  trials: readonly Pick<Trial, "feeds">[],
): Promise<readonly boolean[]> {
  const opened = decodeModel(model);
  const { graph } = opened;
  const fed = new Set([...graph.input, ...graph.output].map(({ name }) => name));
  const logits = graph.node.filter(({ opType }) => opType === "Softmax").map(({ input }) => input[0]!);
  const added = [...new Set(logits)].filter((name) => !fed.has(name));
  graph.output.push(...added.map((name) => createMessage("ValueInfoProto", { name })));
  const session = await openSession(encodeModel(opened));
  const attending: boolean[] = [];
  for (const { feeds } of trials) {
    try {
      const outputs = await session.run(feeds, [...added]);
      attending.push(added.every((name) => rowsAttend(outputs[name]!)));
    } catch {
      // Not at these sizes: nothing is compared either.
      attending.push(true);
    }
  }
  await session.release();
  return attending;
}

function rowsAttend({ data, dims }: { readonly data: unknown; readonly dims: readonly number[] }): boolean {
  if (!(data instanceof Float32Array)) return true;
  const width = Math.max(1, dims.at(-1) ?? 1);
  for (let row = 0; row < data.length; row += width) {
    const largest = data.subarray(row, row + width).reduce((a, b) => Math.max(a, b), -Infinity);
    if (largest > largestLogit || largest < hiddenBelow) return false;
  }
  return true;
}

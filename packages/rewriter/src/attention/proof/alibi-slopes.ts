import { FavorError } from "@favor/core";
import type { GraphProbe } from "@favor/onnx/graph";
import type { Alibi } from "../alibi.ts";
import { InputDraws } from "./input-draws.ts";
import { regionInputs } from "./region-evaluation.ts";
import { TooLargeToSample } from "./sampled-evaluation.ts";
import { sampleRows } from "./sampled-rows.ts";
import type { MaskQuestion } from "./window-proof.ts";

/** Keys of so much of the largest share tell the slope: less has few digits in 16 bits. */
const leastShare = 1e-3;
/** A slope this near to a constant of the graph is that constant. */
const nearConstant = 2e-4;
/** Constants of more elements hold no slopes. */
const mostSlopes = 4096;

/**
 * Slopes with more digits than short inputs show: read off the last query of a long input, which sees keys that are far
 * away, and set to the constant of the graph that they come from, if there is one.
 *
 * @param probe a long input
 */
export function preciseSlopes(question: MaskQuestion, { slopes }: Alibi, probe: GraphProbe | undefined): number[] {
  const measured = (probe && slopesAt(question, slopes.length, probe)) ?? slopes;
  const constants = constantsRead(question);
  return measured.map((slope, head) => {
    // What it reads of a row of padding or of a window is no slope.
    const found = Math.abs(slope - slopes[head]!) <= 0.1 * slopes[head]! ? slope : slopes[head]!;
    const nearest = constants.reduce((a, b) => (Math.abs(b - found) < Math.abs(a - found) ? b : a), Infinity);
    return Math.abs(nearest - found) <= nearConstant * found ? nearest : Math.fround(found);
  });
}

function slopesAt(question: MaskQuestion, heads: number, probe: GraphProbe): number[] | undefined {
  const { context, region, inputs, random } = question;
  const draws = new InputDraws(context, inputs.nodes, region.nodes);
  const { read } = regionInputs(context, region, probe);
  try {
    const seen = sampleRows(question, probe, draws.at(probe, read, 0, random), {
      rows: (queries) => [queries - 1],
      columns: undefined,
      logit: () => 0,
    });
    if (seen === undefined || seen.groups % heads !== 0) return undefined;
    return Array.from({ length: heads }, (_, head) => {
      const row = seen.probabilities.subarray(head * seen.keys, (head + 1) * seen.keys);
      const largest = row.at(-1)!;
      let [product, square] = [0, 0];
      for (const [key, probability] of row.entries()) {
        if (!(probability > leastShare * largest)) continue;
        const distance = seen.keys - 1 - key;
        product -= distance * Math.log(probability / largest);
        square += distance * distance;
      }
      return product / square;
    });
  } catch (error) {
    // What cannot be evaluated at this length leaves the slopes of short inputs.
    if (error instanceof TooLargeToSample || FavorError.isInstance(error)) return undefined;
    throw error;
  }
}

/** Magnitudes of the small constants on the way to the bias, and of what follows from them alone. */
function constantsRead({ context, inputs }: MaskQuestion): number[] {
  return [...inputs.read].flatMap((value) => {
    const known = context.first.info.get(value)?.value ?? context.graph.constant(value);
    return known === undefined || known.data.length > mostSlopes ? [] : Array.from(known.data, Math.abs);
  });
}

import { FavorError } from "@favor/core";
import type { GraphProbe } from "@favor/onnx/graph";
import type { Band } from "../band.ts";
import { readBand } from "./band-pattern.ts";
import { InputDraws } from "./input-draws.ts";
import type { OtherSizes } from "./other-sizes.ts";
import { regionInputs } from "./region-evaluation.ts";
import { TooLargeToSample } from "./sampled-evaluation.ts";
import { sampleRows } from "./sampled-rows.ts";
import { namedSizes, type MaskQuestion } from "./window-proof.ts";

/** Queries at the beginning that are looked at. */
const firstRows = 64;
/** Probabilities that are looked at: fewer rows of longer inputs. */
const mostProbabilities = 2 ** 21;
/** Weights of one row that differ by less are equal; 16 bits round more coarsely than float32. */
const equalWithin = 2e-2;

/**
 * The window of a mask that no whole evaluation is long enough to show, read off a few rows of longer inputs without
 * padding. A candidate, to be held against the graph at other sizes.
 */
export function wideBand(question: MaskQuestion, sizes: OtherSizes): Band | undefined {
  const [longest] = sizes.probes;
  const named = namedSizes(question).toSorted((a, b) => a - b);
  const beyond = [...new Set(named)].flatMap((size) => sizes.beyond(size).slice(0, 1));
  for (const probe of [longest, ...beyond, sizes.immense[0]]) {
    const band = probe && readAt(question, probe);
    if (band !== undefined) return band;
  }
  return undefined;
}

function readAt(question: MaskQuestion, probe: GraphProbe): Band | undefined {
  const { context, region, inputs, random } = question;
  const draws = new InputDraws(context, inputs.nodes, region.nodes);
  const { read } = regionInputs(context, region, probe);
  const few = Math.min(firstRows, Math.ceil(mostProbabilities / probe.sizes.length));
  try {
    const seen = sampleRows(question, probe, draws.at(probe, read, 0, random), {
      rows: (queries) => [
        ...Array.from({ length: Math.min(few, queries - 1) }, (_, query) => query),
        Math.max(0, queries - 1),
      ],
      columns: undefined,
      logit: () => 0,
    });
    if (seen === undefined || seen.queries !== seen.keys) return undefined;
    const rows = seen.rows.map((query, r) => {
      const row = seen.probabilities.subarray(r * seen.keys, (r + 1) * seen.keys);
      const largest = row.reduce((a, b) => Math.max(a, b), 0);
      return { query, weights: row.map((probability) => probability / largest) };
    });
    const isBinary = rows.every(({ weights }) => weights.every((w) => w < equalWithin || w > 1 - equalWithin));
    return isBinary ? readBand(rows) : undefined;
  } catch (error) {
    // What cannot be evaluated at this size shows no window.
    if (error instanceof TooLargeToSample || FavorError.isInstance(error)) return undefined;
    throw error;
  }
}

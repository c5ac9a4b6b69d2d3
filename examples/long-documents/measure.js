// Quality, time and memory of several models by the length of the input.
import { cpus } from "node:os";

import { evaluate, measureSpeed } from "favor-convert";

import { checkpoint, dataFile } from "./methods.js";

/** The longest length, in tokens, that the model was trained at. */
export const trainedLength = 4096;

/** Beyond that length, softmax has to keep this share of the accuracy that it has there; otherwise, nothing is compared. */
const keptBeyond = 0.95;

/**
 * Measures masked accuracy, perplexity, time and memory at each length.
 *
 * @param {{ name: string, folder: string }[]} models - the original first.
 * @param {{ lengths: number[], tokens: number, rounds: number, say: (text: string) => void }} options - `lengths`: ascending;
 * `tokens`: about how many to measure the quality on, at each length; `rounds`: in which the models take turns to be timed.
 * @returns {Promise<object[]>} for each length, the models with their figures; without `models` where softmax itself fails.
 */
export async function measureAtLengths(models, { lengths, tokens, rounds, say }) {
  const results = [];
  let trained;
  for (const length of lengths) {
    say(`Measuring the quality at ${length} tokens ...`);
    const evaluations = await evaluate({
      original: checkpoint,
      converted: models.slice(1).map(({ folder }) => folder),
      data: dataFile("validation"),
      maxLength: length,
      count: Math.max(4, Math.round(tokens / length)),
    });
    const [{ original, data, maskedTokens }] = evaluations;
    const measured = { length, windows: data.sequences, maskedTokens };
    if (length <= trainedLength) trained = original.accuracy.value;
    else if (trained !== undefined && original.accuracy.value < keptBeyond * trained) {
      results.push({ ...measured, softmaxFails: { accuracy: original.accuracy.value, trained } });
      break;
    }
    say(`Timing at ${length} tokens ...`);
    const costs = await timeInTurns(models, length, rounds);
    results.push({
      ...measured,
      models: models.map(({ name }, i) => {
        const { accuracy, perplexity } = i === 0 ? original : evaluations[i - 1].converted;
        const kept = i === 0 ? undefined : evaluations[i - 1].accuracyKept;
        return { name, accuracy, perplexity, ...(kept && { kept }), ...costs[i] };
      }),
    });
  }
  return results;
}

/**
 * One forward pass on one thread. Every model in turn, each time in a process of its own. Time is that of the processor, because
 * the machine may be busy; of all rounds, the shortest time and the least memory count.
 */
async function timeInTurns(models, length, rounds) {
  const best = models.map(() => ({ seconds: Infinity, peakBytes: Infinity }));
  for (let round = 0; round < rounds; round++)
    for (const [i, { folder }] of models.entries()) {
      const [{ processorSeconds, peakBytes }] = await measureSpeed(folder, { lengths: [length], threads: 1, runs: 1 });
      best[i].seconds = Math.min(best[i].seconds, processorSeconds);
      best[i].peakBytes = Math.min(best[i].peakBytes, peakBytes);
    }
  return best;
}

/** What the times depend on. */
export function machineToday() {
  const [{ model }] = cpus();
  return {
    processor: model.trim(),
    cores: cpus().length,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
  };
}

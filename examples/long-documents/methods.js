// The ways to run the model that the example compares.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { convert } from "favor-convert";

const here = fileURLToPath(new URL(".", import.meta.url));

/** The softmax original. */
export const checkpoint = join(here, "checkpoint");
export const dataFile = (name) => join(here, "data", `${name}.jsonl`);

/**
 * Converts the checkpoint in every way, without training.
 *
 * @param {object} options
 * @param {string} options.output - folder for the conversions.
 * @param {number} options.count - M of FAVOR alone.
 * @param {{ maxLength: number, calibrateCount: number }} options.calibration - tokens of a window, and the number of windows.
 * @param {boolean} [options.reuse] - conversions that are there already are not made again.
 * @param {string} [options.tuned] - a folder that favor-tune made, which is compared too.
 * @param {(text: string) => void} options.say - takes progress.
 * @returns {Promise<{ name: string, folder: string }[]>} the original first.
 */
export async function makeModels({ output, count, calibration, reuse = false, tuned, say }) {
  const calibrate = { calibrate: dataFile("calibration"), ...calibration };
  const conversions = [
    { name: "exact, linear memory", request: { features: "exact" } },
    { name: "exact, fused", request: { features: "exact", target: "onnxruntime" } },
    { name: `FAVOR alone, M = ${count}`, request: { window: 0, count, ...calibrate } },
    { name: "default conversion", request: calibrate },
  ];
  const models = [{ name: "softmax", folder: checkpoint }];
  for (const { name, request } of conversions) {
    const folder = join(output, name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-"));
    models.push({ name, folder });
    if (reuse && existsSync(join(folder, "favor.json"))) continue;
    say(`Converting: ${name} ...`);
    await convert({ source: checkpoint, output: folder, force: true, ...request });
  }
  return tuned === undefined ? models : [...models, { name: "tuned", folder: tuned }];
}

import { readFileSync } from "node:fs";
import { join } from "node:path";

import { openSource, openSourceModel } from "@favor/checkpoints/node";
import { writeModel } from "@favor/onnx/node";
import { findAttention } from "@favor/rewriter";

/**
 * Converts a source with the exact keys of a conversion of it, but without features: what the exact keys are worth alone.
 *
 * @param source the checkpoint that was converted.
 * @param converted the folder of the conversion.
 * @param path the `.onnx` file to write.
 */
export async function dropFarField(source, converted, path) {
  const { sites, options } = JSON.parse(readFileSync(join(converted, "favor.json"), "utf8"));
  const opened = await openSourceModel(await openSource(source));
  try {
    const exactKeys = sites.map((site) => site.exactKeys && { ...site.exactKeys });
    const { model } = findAttention(opened.model).convert({
      exactKeys,
      featureMaps: exactKeys.map((keys) => keys && []),
      keep: options.keep,
    });
    await writeModel(model, path);
  } finally {
    opened.close();
  }
}

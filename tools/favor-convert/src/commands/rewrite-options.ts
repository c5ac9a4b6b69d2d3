import type { FavorOptions } from "@favor/report";
import type { ConvertOptions } from "@favor/rewriter";

/** What the rewriter is asked for. Landmarks are feature maps made here: it sees the positive features they are. */
export function rewriteOptions(options: FavorOptions, keep: readonly number[]): Omit<ConvertOptions, "maskOperations"> {
  const {
    features,
    keyFactor,
    count,
    seed,
    projection,
    cross,
    target,
    stateful,
    maxLength,
    growth,
    window,
    chosenBlocks,
    chosen,
    block,
  } = options;
  return {
    features: features === "landmark" ? "positive" : features,
    count,
    seed,
    keep,
    ...(keyFactor !== undefined && { keyFactor }),
    ...(projection !== undefined && { projection }),
    ...(block !== undefined && { block }),
    ...(cross === true && { cross }),
    // What is chosen stands in what was fitted.
    ...(window !== undefined &&
      chosen === undefined && { exactKeys: { window, ...(chosenBlocks !== undefined && { chosenBlocks }) } }),
    ...(target !== undefined && { target }),
    ...(stateful === true && { stateful }),
    ...(maxLength !== undefined && { maxLength }),
    ...(growth !== undefined && { growth }),
  };
}

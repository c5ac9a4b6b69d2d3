import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The embedded real checkpoint: BERT, 4 layers, 4 heads of 32. */
export const tiny: string = fileURLToPath(new URL("../../../examples/antibody/checkpoint", import.meta.url));

/** Real antibody sequences in FASTA. */
export const validation: string = fileURLToPath(
  new URL("../../../examples/antibody/data/validation.fasta", import.meta.url),
);
export const calibration: string = fileURLToPath(
  new URL("../../../examples/antibody/data/calibration.fasta", import.meta.url),
);

/** A file beside the repository that not every machine has; `undefined` if this one does not. */
export function sharedFile(path: string): string | undefined {
  const found = fileURLToPath(new URL(`../../../../shared/${path}`, import.meta.url));
  return existsSync(found) ? found : undefined;
}

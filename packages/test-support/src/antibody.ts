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

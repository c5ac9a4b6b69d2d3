// What other tools of the family share: masking, models in onnxruntime, masked accuracy with its intervals.
export { bootstrap } from "./bootstrap.ts";
export type { Estimate } from "./bootstrap.ts";
export { mainOutput } from "./main-output.ts";
export { maskSequence, maskedShare, ordinaryIds } from "./masking.ts";
export type { MaskedSequence } from "./masking.ts";
export { compareMasked, maskedQuality, scoreMasked } from "./masked-language.ts";
export type { MaskedComparison, MaskedQuality, MaskedScores } from "./masked-language.ts";
export { ModelRunner } from "./runner.ts";
export type { BatchOutput, RunnerOptions } from "./runner.ts";
export { roleOf, tokenInput } from "./token-inputs.ts";
export type { InputRole, TokenInputOptions } from "./token-inputs.ts";

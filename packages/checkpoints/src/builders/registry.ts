import { CheckpointError } from "../formats/errors.ts";
import type { Architecture } from "./architecture.ts";
import { albert } from "./architectures/albert.ts";
import { bert, electra, roberta } from "./architectures/bert.ts";
import { distilbert } from "./architectures/distilbert.ts";
import { esm } from "./architectures/esm.ts";
import { modernbert } from "./architectures/modernbert.ts";
import type { Configuration } from "./configuration.ts";

/** Architectures by `model_type`. */
const architectures: ReadonlyMap<string, Architecture> = new Map([
  ["bert", bert],
  ["roberta", roberta],
  ["xlm-roberta", roberta],
  ["camembert", roberta],
  ["distilbert", distilbert],
  ["albert", albert],
  ["electra", electra],
  ["esm", esm],
  ["modernbert", modernbert],
]);

/** Well-known encoders that are not supported, and the part of them that linear attention cannot express. */
const refused: ReadonlyMap<string, string> = new Map([
  ["mpnet", "MPNet adds a bias by relative position to every attention's logits"],
  ["deberta", "DeBERTa's attention has terms of relative positions"],
  ["deberta-v2", "DeBERTa's attention has terms of relative positions"],
]);

/** Every `model_type` that {@link architectureOf} knows. */
export const modelTypes: readonly string[] = [...architectures.keys()];

/**
 * The architecture of a configuration, and the configuration with that architecture's names.
 *
 * @throws CheckpointError "unsupported-model" naming the `model_type` and the supported ones
 */
export function architectureOf(config: Configuration): { architecture: Architecture; config: Configuration } {
  const type = config.text("model_type", "");
  const known = architectures.get(type);
  if (known !== undefined) return { architecture: known, config: config.withSynonyms(known.synonyms ?? {}) };
  const why = refused.get(type);
  const found =
    type === "" ? "config.json names no model_type" : `The model_type ${JSON.stringify(type)} is not supported`;
  const reason =
    why === undefined
      ? "Export the model to ONNX and convert the export, or choose an ONNX file that the checkpoint already holds"
      : `${why}, which linear attention cannot express`;
  throw new CheckpointError("unsupported-model", `${found}. Supported are ${modelTypes.join(", ")}. ${reason}.`, {
    type,
  });
}

import { visibleLines, visibleText } from "@favor/checkpoints";

import type { FavorFile } from "../record/favor-file.ts";
import { describeEvaluation, evaluationMethod, summary } from "../summary.ts";
import { onnxruntimeUse, opset27Use, statefulUse } from "./use.ts";

/** Escapes text for Markdown, on one line. */
function plain(text: string): string {
  return visibleText(text).replaceAll(/[\\`*_[\]<>#|]/g, (character) => `\\${character}`);
}

/** Makes the `README.md` of the converted folder: a model card for the Hugging Face Hub. */
export function modelCard(file: FavorFile): string {
  const { evaluation, options, warnings = [] } = file;
  const signature =
    options.stateful === true
      ? "Inputs, outputs and tokenizer are those of the original; in addition, the model takes and returns its state (see Use)"
      : "Inputs, outputs and tokenizer are those of the original";
  const lines = [
    "---",
    "tags: [favor, linear-attention, performer, onnx]",
    "---",
    "",
    `# ${plain(file.source.name)} with linear attention`,
    "",
    `${summary(file)} ${signature}. Where attention was replaced, time and memory grow linearly with the length.`,
    "",
    "## Quality",
    "",
    evaluation === undefined
      ? "Not measured. Run favor-convert with `--evaluate` and data like yours before you rely on this model."
      : plain(describeEvaluation(evaluation)),
    ...(evaluation?.kind === "masked-language" ? ["", evaluationMethod] : []),
    ...warnings.flatMap(({ message }) => ["", `**Warning.** ${plain(message)}`]),
    "",
    "Linear attention approximates softmax attention. Expect different numbers on other data, lengths and tasks.",
    "",
    "## Use",
    "",
    ...useOf(file),
    "",
    "`favor.json` records the source's sha256, every attention site with its feature map and seed, and the versions;",
    "`report.html` shows them. The licence of the original checkpoint applies to this one.",
    "",
  ];
  return visibleLines(lines.join("\n"));
}

function useOf(file: FavorFile): string[] {
  const { target, stateful } = file.options;
  const isCausal = file.sites.some(({ state, causal }) => state === "converted" && causal);
  if (target === "onnx27" && isCausal) return opset27Use(file);
  return stateful === true ? statefulUse(file) : onnxruntimeUse(file, target === "onnxruntime" && isCausal);
}

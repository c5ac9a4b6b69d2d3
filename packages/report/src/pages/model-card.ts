import { visibleLines, visibleText } from "@favor/checkpoints";
import { bytesText } from "@favor/checkpoints/node";

import type { FavorFile } from "../record/favor-file.ts";
import { predictsMasks } from "../record/tuning-record.ts";
import { describeEvaluation, evaluationMethod, meaningOf } from "../describe-evaluation.ts";
import { describeTuning, isLossless, summary } from "../summary.ts";
import { onnxruntimeUse, opset27Use, pythonUse, statefulUse, transformersJsUse } from "./use.ts";

/** Escapes text for Markdown, on one line. */
function plain(text: string): string {
  return visibleText(text).replaceAll(/[\\`*_[\]<>#|]/g, (character) => `\\${character}`);
}

/** Makes the `README.md` of the converted folder: a model card for the Hugging Face Hub. */
export function modelCard(file: FavorFile): string {
  const { options, warnings = [], card } = file;
  const signature =
    options.stateful === true
      ? "Inputs, outputs and tokenizer are those of the original; in addition, the model takes and returns its state (see Use)"
      : "Inputs, outputs and tokenizer are those of the original";
  const lines = [
    ...frontMatter(file),
    "",
    `# ${plain(file.source.name)} with linear attention`,
    "",
    `${summary(file)} ${signature}. Where attention was replaced, time and memory grow linearly with the length.`,
    ...(card === undefined
      ? []
      : ["", `Weights: ${bytesText(card.weights.before)} before, ${bytesText(card.weights.after)} after.`]),
    "",
    "## Quality",
    "",
    ...quality(file),
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

/** What can stand in YAML without quotes. */
const safe = /^[\w.-]+(\/[\w.-]+)?$/;

/** The metadata that the Hub reads, without the entries that Favor does not know. */
function frontMatter({ card }: FavorFile): string[] {
  const { repository, license, pipeline, transformersJs } = card ?? {};
  const entries: [key: string, value: string | undefined][] = [
    ["base_model", repository],
    ["license", license],
    ["library_name", transformersJs === true ? "transformers.js" : "onnx"],
    ["pipeline_tag", pipeline],
  ];
  const known = entries.filter(([, value]) => value !== undefined && safe.test(value));
  const tags = "tags: [favor, linear-attention, performer, onnx]";
  return ["---", ...known.map(([key, value]) => `${key}: ${value}`), tags, "---"];
}

function quality(file: FavorFile): string[] {
  const { evaluation, tuning } = file;
  const measured: string[] = [];
  if (tuning !== undefined) {
    measured.push(
      `Tuned with favor-tune. ${plain(describeTuning(tuning))} Measured on ` +
        `${plain(tuning.measured.file)}, on sequences that were not trained on.`,
    );
  } else if (evaluation !== undefined) {
    measured.push(`${plain(describeEvaluation(evaluation))} ${plain(meaningOf(evaluation))}`);
  }
  if (measured.length === 0 && isLossless(file)) {
    return ["Every layer computes what it did before, up to rounding. `favor-convert verify` compares both models."];
  }
  if (measured.length === 0) {
    return ["Not measured. Run favor-convert with `--evaluate` and data like yours before you rely on this model."];
  }
  const isMasked = tuning === undefined ? evaluation?.kind === "masked-language" : predictsMasks(tuning.measured);
  return isMasked ? [...measured, "", evaluationMethod] : measured;
}

function useOf(file: FavorFile): string[] {
  const { target, stateful } = file.options;
  const isCausal = file.sites.some(({ state, causal }) => state === "linear" && causal);
  if (target === "onnx27" && isCausal) return opset27Use(file);
  if (stateful === true) return statefulUse(file);
  const parts = [onnxruntimeUse(file, target === "onnxruntime" && isCausal), pythonUse(file)];
  if (file.card?.transformersJs === true && !isCausal) parts.push(transformersJsUse(file));
  return parts.flatMap((lines, i) => (i === 0 ? lines : ["", ...lines]));
}

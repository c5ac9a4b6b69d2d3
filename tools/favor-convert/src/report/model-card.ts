import type { FavorFile } from "./favor-file.ts";
import { describeEvaluation, evaluationMethod, summary } from "./summary.ts";

/** A name that is safe inside Markdown text. */
function plain(text: string): string {
  return text.replaceAll(/[\\`*_[\]<>#|]/g, (character) => `\\${character}`);
}

/** `README.md` of the converted folder: a model card for the Hugging Face Hub. */
export function modelCard(file: FavorFile): string {
  const { evaluation } = file;
  const lines = [
    "---",
    "tags: [favor, linear-attention, performer, onnx]",
    "---",
    "",
    `# ${plain(file.source.name)} with linear attention`,
    "",
    `${summary(file)} Inputs, outputs and tokenizer are those of the original; cost and memory grow linearly with the length where the attention was replaced.`,
    "",
    "## Quality",
    "",
    evaluation === undefined
      ? "Not measured. Run favor-convert with `--evaluate` and data like yours before you rely on this model."
      : plain(describeEvaluation(evaluation)),
    ...(evaluation?.kind === "masked-language" ? ["", evaluationMethod] : []),
    "",
    "Linear attention approximates softmax attention: expect other numbers on data, lengths and tasks that differ from these.",
    "",
    "## Use",
    "",
    "```js",
    'import { InferenceSession } from "onnxruntime-node";',
    "",
    `const session = await InferenceSession.create("${file.model.file}");`,
    "```",
    "",
    "`favor.json` holds the source's sha256, every attention site with its feature map and seed, and the versions;",
    "`report.html` shows it. The licence of the original checkpoint applies to this one.",
    "",
  ];
  return lines.join("\n");
}

import { Html, curveChart, facts, html, methodColor, table } from "@favor/report/pages";
import { percentWithInterval, short, withInterval } from "@favor/measure/numbers";
import type { MaskedQuality } from "@favor/measure";
import { describeTuning } from "@favor/report";
import type { CurvePoint, TuningRecord } from "@favor/report";
import type { Line } from "@favor/report/pages";

/** The tuning section of `report.html`: the curve, all models on the same tokens, and how it was made. */
export function tuningSection(tuning: TuningRecord): Html {
  const { measured, stages, settings, data } = tuning;
  const distilled = stages.flatMap(({ sites = [] }) => sites);
  return html`<h2>Tuning</h2>
    <p class="lead">${describeTuning(tuning)}</p>
    <p class="muted">
      ${`All on the same ${measured.maskedTokens} masked tokens of ${measured.sequences} sequences of ${measured.file}, which were not trained on. Intervals are 95 % percentile bootstraps over whole sequences.`}
    </p>
    ${new Html(
      curveChart(curves(tuning), {
        title: "Masked accuracy on held-out data",
        axis: "masked accuracy, %",
        across: "step",
        id: "tuning",
      }),
    )}
    ${table(["model", "masked accuracy", "perplexity"], qualityRows(measured), "With 95 % intervals.")}
    ${settings["control"] === true ? html`<p class="muted">${controlNote}</p>` : ""} ${ablation(measured)}
    <h3>Stages</h3>
    ${table(
      ["stage", "steps", "weights kept", "learning rate", "seconds"],
      stages.map(({ name, steps, kept, learningRate, seconds }) => [
        name,
        steps,
        kept === steps ? "of the last step" : `of step ${kept}`,
        String(learningRate),
        seconds.toFixed(1),
      ]),
    )}
    ${
      distilled.length === 0
        ? ""
        : html`<h3>Attention, distilled</h3>
            <p class="muted">${distillationNote}</p>
            ${table(
              ["attention", "error before", "error after"],
              distilled.map(({ site, layer, before, after }) => [
                layer === undefined ? site : `layer ${layer}`,
                short(before),
                short(after),
              ]),
            )}`
    }
    <h3>How it was tuned</h3>
    ${facts([
      ["trained on", tuning.backend],
      [
        "data",
        html`<code>${data.file}</code>, ${data.records} sequences, ${data.heldOut} not trained on, sha256
          <code>${data.sha256}</code>`,
      ],
      ["settings", listed(settings)],
      ["versions", listed(tuning.versions)],
    ])}`;
}

function listed(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(", ");
}

const controlNote =
  "The control is the softmax original, fine-tuned on the same batches with the same masks and settings. Its gain is " +
  "adaptation to the data, not recovery from the conversion.";

const distillationNote =
  "Error: the mean squared error of the attention's output on the original's activations, divided by the output's " +
  "variance, on held-out sequences. A constant would reach 1.";

/** Sums up in one sentence what distillation did; undefined if nothing was distilled. */
export function distillationSummary({ stages }: TuningRecord): string | undefined {
  const sites = stages.flatMap(({ sites: found = [] }) => found);
  if (sites.length === 0) return undefined;
  const mean = (when: "before" | "after"): string =>
    short(sites.reduce((sum, site) => sum + site[when], 0) / sites.length);
  const counted = sites.length === 1 ? "1 attention" : `${sites.length} attentions`;
  return `Distillation: the mean error of ${counted} went from ${mean("before")} to ${mean("after")} of the output's variance.`;
}

/** Name, accuracy and perplexity of every model that was measured. */
export function qualityRows({ original, before, after, control }: TuningRecord["measured"]): string[][] {
  return rowsOf([
    ["original (softmax)", original],
    ["converted", before],
    ["converted and tuned", after],
    ["original, tuned in the same way (control)", control],
  ]);
}

/** What a hybrid does without its remaining softmax layers, which its reader has to be told the meaning of. */
function ablation({ ablated }: TuningRecord["measured"]): Html {
  if (ablated === undefined) return html``;
  const layers = ablated.layers.length === 1 ? `layer ${ablated.layers[0]!}` : `layers ${ablated.layers.join(", ")}`;
  return html`<h3>Without the softmax that is left</h3>
    <p class="muted">
      ${`The same measurement with the attention of ${layers}, which stayed softmax, set to zero. This model does not exist: it says how much the converted layers carry on their own, and whether tuning taught them or only the layers around them.`}
    </p>
    ${table(
      ["model", "masked accuracy", "perplexity"],
      rowsOf([
        ["converted", ablated.before],
        ["converted and tuned", ablated.after],
      ]),
      "With 95 % intervals.",
    )}`;
}

function rowsOf(rows: readonly (readonly [string, MaskedQuality | undefined])[]): string[][] {
  return rows.flatMap(([name, quality]) =>
    quality === undefined ? [] : [[name, percentWithInterval(quality.accuracy), withInterval(quality.perplexity)]],
  );
}

function pointsOf(curve: readonly CurvePoint[]): [number, number][] {
  return curve.map(({ step, accuracy }) => [step, 100 * accuracy]);
}

function curves({ curve, controlCurve, measured }: TuningRecord): Line[] {
  const end = Math.max(...[...curve, ...(controlCurve ?? [])].map(({ step }) => step));
  const level = (name: string, color: number, quality: MaskedQuality | undefined): Line[] => {
    if (quality === undefined) return [];
    const height = 100 * quality.accuracy.value;
    return [
      {
        name,
        color,
        points: [
          [0, height],
          [end, height],
        ],
      },
    ];
  };
  return [
    { name: "tuned", points: pointsOf(curve), color: methodColor.tuned },
    ...level("original", methodColor.original, measured.original),
    ...(controlCurve === undefined
      ? []
      : [{ name: "control", points: pointsOf(controlCurve), color: methodColor.control }]),
    ...level("converted", methodColor.converted, measured.before),
  ];
}

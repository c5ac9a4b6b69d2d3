import { Html, curveChart, facts, html, methodColor, table } from "@favor/report/pages";
import { short } from "@favor/measure/numbers";
import { describeTuning, meaningOf, predictsMasks } from "@favor/report";
import type { CurvePoint, TunedPredictions, TunedUse, TuningRecord } from "@favor/report";
import type { Line } from "@favor/report/pages";

import { predictionRows, qualityRows, useColumns, useRows } from "./quality-rows.ts";

/** The tuning section of `report.html`: the curve, all models on the same tokens, and how it was made. */
export function tuningSection(tuning: TuningRecord): Html {
  const { measured, stages, settings, data, curveOf = "masked accuracy" } = tuning;
  const distilled = stages.flatMap(({ sites = [] }) => sites);
  return html`<h2>Tuning</h2>
    <p class="lead">${describeTuning(tuning)}</p>
    <p class="muted">
      ${`All on the same ${measuredOn(measured)} of ${measured.file}, which were not trained on. Intervals are 95 % percentile bootstraps over whole sequences.`}
    </p>
    ${new Html(
      curveChart(curves(tuning), {
        title: `${curveOf[0]!.toUpperCase()}${curveOf.slice(1)} on held-out data`,
        axis: `${curveOf}, %`,
        across: "step",
        id: "tuning",
      }),
    )}
    ${predictsMasks(measured) ? predictions(measured) : comparison(measured)}
    ${settings["control"] === true ? html`<p class="muted">${controlNote}</p>` : ""}
    <h3>Stages</h3>
    ${table(
      ["stage", "steps", "weights kept", "learning rate", "seconds"],
      stages.map(({ name, steps, kept, learningRate, seconds }) => [
        name,
        steps,
        keptWords(kept, steps),
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
        html`<code>${data.file}</code>, ${data.records} sequences to train on, ${data.validation ?? 0} to choose weights
          by, ${data.heldOut} left out, sha256 <code>${data.sha256}</code>`,
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

function keptWords(kept: number, steps: number): string {
  if (kept === 0) return "those before it";
  return kept === steps ? "of the last step" : `of step ${kept}`;
}

const controlNote =
  "The control is the softmax original, fine-tuned on the same batches with the same masks and settings. Its gain is " +
  "adaptation to the data, not recovery from the conversion.";

const distillationNote =
  "Error: the mean squared error of the attention's output on the original's activations, divided by the output's " +
  "variance, on held-out sequences. A constant would reach 1.";

function measuredOn(measured: TuningRecord["measured"]): string {
  const sequences = `${measured.sequences} sequences`;
  return predictsMasks(measured) ? `${measured.maskedTokens} masked tokens of ${sequences}` : sequences;
}

function predictions(measured: TunedPredictions): Html {
  const heading = ["model", "masked accuracy", "perplexity"];
  return html`${table(heading, qualityRows(measured), "With 95 % intervals.")} ${ablation(measured)}`;
}

function comparison(measured: TunedUse): Html {
  const [heading, rows] = [useColumns, useRows(measured)];
  return html`${table(heading, rows, "Each model compared with the original; 1 or 100 % is the original.")}
    <p class="muted">${meaningOf(measured.after)}</p>`;
}

/** What a hybrid does without its remaining softmax layers, which its reader has to be told the meaning of. */
function ablation({ ablated }: TunedPredictions): Html {
  if (ablated === undefined) return html``;
  const layers = ablated.layers.length === 1 ? `layer ${ablated.layers[0]!}` : `layers ${ablated.layers.join(", ")}`;
  return html`<h3>Without the softmax that is left</h3>
    <p class="muted">
      ${`The same measurement with the attention of ${layers}, which stayed softmax, set to zero. This model does not exist: it says how much the converted layers carry on their own, and whether tuning taught them or only the layers around them.`}
    </p>
    ${table(
      ["model", "masked accuracy", "perplexity"],
      predictionRows([
        ["converted", ablated.before],
        ["converted and tuned", ablated.after],
      ]),
      "With 95 % intervals.",
    )}`;
}

function pointsOf(curve: readonly CurvePoint[]): [number, number][] {
  return curve.map(({ step, value }) => [step, 100 * value]);
}

function curves({ curve, controlCurve, originalValue, measured }: TuningRecord): Line[] {
  const end = Math.max(...[...curve, ...(controlCurve ?? [])].map(({ step }) => step));
  const level = (name: string, color: number, value: number | undefined): Line[] => {
    if (value === undefined) return [];
    const points: [number, number][] = [
      [0, 100 * value],
      [end, 100 * value],
    ];
    return [{ name, color, points }];
  };
  // Older curves are of the data that the result was measured on.
  const measuredOriginal = predictsMasks(measured) ? measured.original?.accuracy.value : undefined;
  return [
    { name: "tuned", points: pointsOf(curve), color: methodColor.tuned },
    ...level("original", methodColor.original, originalValue ?? measuredOriginal),
    ...(controlCurve === undefined
      ? []
      : [{ name: "control", points: pointsOf(controlCurve), color: methodColor.control }]),
    ...level("converted", methodColor.converted, curve[0]?.value),
  ];
}

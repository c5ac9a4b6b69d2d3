// Tunes converted folders with the command line of favor-tune, two at a time (its wasm backend uses one core), and shows
// how their accuracy comes back.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { Html, curveChart, html, table } from "@favor/report/pages";
import { percent, percentWithInterval } from "@favor/measure/numbers";

const favorTune = fileURLToPath(new URL("dist/cli.js", import.meta.resolve("favor-tune/package.json")));

/**
 * @param {{ name: string, folder: string }[]} models - converted folders; together with the first, the softmax original is
 * tuned in the same way (the control).
 * @param {{ args: string[], say: (text: string) => void }} options - arguments of favor-tune that all share.
 * @returns {Promise<{ name: string, tuning: object }[]>} with the section `tuning` of each folder's favor.json.
 */
export async function tuneAll(models, { args, say }) {
  const stop = new AbortController();
  const waiting = models.map((model, i) => ({ ...model, args: i === 0 ? [...args, "--control"] : args }));
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await run(next, say, stop.signal);
  };
  try {
    await Promise.all([work(), work()]);
  } finally {
    stop.abort();
  }
  return Promise.all(
    models.map(async ({ name, folder }) => {
      const favor = JSON.parse(await readFile(join(`${folder}-tuned`, "favor.json"), "utf8"));
      return { name, tuning: favor.tuning };
    }),
  );
}

/** Runs favor-tune on one folder; tells every measurement on the way, and all that it said if it fails. */
function run({ name, folder, args }, say, signal) {
  say(`Tuning: ${name} ...`);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [favorTune, folder, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      signal,
    });
    const lines = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      if (line.includes("held-out")) say(`  ${name}: ${line}`);
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`favor-tune ${folder} ended with exit code ${code}:\n${lines.join("\n")}`));
    });
  });
}

/** The models of the recovery in order, each with its curve by step and its quality at the end. */
function curvesOf(tuned) {
  const { tuning } = tuned.find((model) => model.tuning.controlCurve !== undefined);
  const { original, control } = tuning.measured;
  return {
    original,
    curves: [
      ...tuned.map(({ name, tuning: { curve, measured } }) => ({
        name,
        curve,
        before: measured.before,
        end: measured.after,
      })),
      { name: "softmax (control)", curve: tuning.controlCurve, before: original, end: control },
    ],
  };
}

/** Rows of a text table, the head first: accuracy by step, before, and at the end with its interval and as a share. */
export function recoveryRows(tuned) {
  const { original, curves } = curvesOf(tuned);
  const steps = curves[0].curve.map(({ step }) => step);
  return [
    ["attention", ...steps.map((step) => `step ${step}`), "before", "at the end (95 %)", "of the original"],
    ...curves.map(({ name, curve, before, end }) => [
      name,
      ...steps.map((step) => percentAt(curve, step)),
      percent(before.accuracy.value),
      percentWithInterval(end.accuracy),
      percent(end.accuracy.value / original.accuracy.value),
    ]),
  ];
}

function percentAt(curve, step) {
  const point = curve.find((candidate) => candidate.step === step);
  return point === undefined ? "" : percent(point.value);
}

/** What was trained, and what was measured on which data. */
export function recoveryText(tuned) {
  const [{ tuning }] = tuned;
  const { measured, stages, settings } = tuning;
  const [distill, mlm] = stages;
  return (
    `Tuned by favor-tune: ${distill.steps} steps of distillation (feature maps alone), then ${mlm.steps} of masked ` +
    `language modelling (all weights), ${settings.batch} sequences per step. Steps show the accuracy on sequences that are not trained ` +
    `on, by which favor-tune chooses the best weights of each stage. Before and at the end, it is the accuracy on ` +
    `${measured.maskedTokens} masked residues of ${measured.sequences} further sequences; the original has ` +
    `${percentWithInterval(measured.original.accuracy)} there.`
  );
}

/** The same for the report: the curves as a chart, and the table. */
export function recoverySection(tuned) {
  const { curves } = curvesOf(tuned);
  const last = tuned[0].tuning.curve.at(-1).step;
  const level = 100 * tuned[0].tuning.originalValue;
  const lines = [
    ...curves.map(({ name, curve }, i) => ({
      name,
      points: curve.map(({ step, value }) => [step, 100 * value]),
      color: i + 1, // as in the other charts, where softmax comes first
    })),
    {
      name: "softmax (original)",
      color: 0,
      points: [
        [0, level],
        [last, level],
      ],
    },
  ];
  const [head, ...rows] = recoveryRows(tuned);
  return html`<h2>Recovery</h2>
    <p>${recoveryText(tuned)}</p>
    ${new Html(curveChart(lines, { title: "Masked accuracy on the sequences that choose the weights", axis: "masked accuracy, %", across: "steps", id: "recovery" }))}
    ${table(head, rows)}`;
}

import type { Evaluation, LengthBin } from "@favor/measure";
import { thresholds } from "@favor/measure/judgement";
import type { MeasureName } from "@favor/measure/judgement";
import { counted, grouped, percent, percentWithInterval, short, withInterval } from "@favor/measure/numbers";

type Of<Kind extends Evaluation["kind"]> = Evaluation & { readonly kind: Kind };

/** Describes the outcome of a comparison in one sentence. */
export function describeEvaluation(evaluation: Evaluation): string {
  switch (evaluation.kind) {
    case "masked-language":
    case "next-token":
      return describePredictions(evaluation);
    case "embedding":
      return describeEmbeddings(evaluation);
    case "classification":
      return describeDecisions(evaluation);
    case "output-numbers":
      return describeNumbers(evaluation);
    case "output-cosine": {
      const { output, cosine, vectors, data } = evaluation;
      return (
        `Mean cosine of the output "${output}" between original and converted: ` +
        `${withInterval(cosine)} over ${counted(vectors, "vector")} of ${counted(data.sequences, "sequence")}.`
      );
    }
  }
}

function describePredictions(evaluation: Of<"masked-language" | "next-token">): string {
  const { original, converted, accuracyKept, data } = evaluation;
  const kept = accuracyKept === undefined ? "" : `: ${percent(accuracyKept.value)} of the original`;
  const [name, tokens] =
    evaluation.kind === "masked-language"
      ? ["Masked accuracy", counted(evaluation.maskedTokens, "masked token")]
      : ["Next-token accuracy", counted(evaluation.predictedTokens, "predicted token")];
  return (
    `${name} ${percentWithInterval(original.accuracy)} before, ${percentWithInterval(converted.accuracy)} after` +
    `${kept}; perplexity ${short(original.perplexity.value)} before, ` +
    `${short(converted.perplexity.value)} after (${tokens} of ${counted(data.sequences, "sequence")}).`
  );
}

function describeEmbeddings({ cosine, neighbours, pooling, output, vectors }: Of<"embedding">): string {
  const made = pooling === undefined ? `the output "${output}"` : `${pooling.modes.join(", ")} pooling of "${output}"`;
  const search =
    neighbours === undefined
      ? ""
      : `; ${percentWithInterval(neighbours.kept)} of ${grouped(neighbours.texts)} texts keep their nearest neighbour`;
  const order =
    neighbours?.rankCorrelation === undefined
      ? ""
      : `; rank correlation of all pairs' similarity ${short(neighbours.rankCorrelation)}`;
  return (
    `Mean cosine of the embeddings between original and converted: ${withInterval(cosine)}${search}${order} ` +
    `(${made}, ${counted(vectors, "text")}).`
  );
}

function describeDecisions({ agreement, vectors, classes, commonest, data }: Of<"classification">): string {
  return (
    `Both models decide alike in ${percentWithInterval(agreement)} of ${counted(vectors, "decision")} among ${classes} ` +
    `classes (${counted(data.sequences, "sequence")}); the original's most common decision has ${percent(commonest)}.`
  );
}

function describeNumbers({ output, width, vectors, error, rankCorrelation, data }: Of<"output-numbers">): string {
  const what = width === 1 ? `The number "${output}"` : `The ${width} numbers "${output}"`;
  const order = rankCorrelation === undefined ? "" : `; rank correlation with the original's ${short(rankCorrelation)}`;
  return (
    `${what} of the converted model ${width === 1 ? "differs" : "differ"} from the original's by ` +
    `${percentWithInterval(error)} of their spread (root mean square by standard deviation; 0 % is equal, 100 % is no ` +
    `better than their mean)${order} (${counted(vectors, width === 1 ? "number" : "vector")} of ` +
    `${counted(data.sequences, "sequence")}).`
  );
}

/** What is kept, as the end of a sentence about how much is lost. */
export function describeKept(evaluation: Evaluation): string {
  switch (evaluation.kind) {
    case "masked-language":
      return `the model keeps ${percent(evaluation.accuracyKept!.value)} of the original's masked accuracy`;
    case "next-token": {
      const { accuracyKept, original, converted } = evaluation;
      const kept =
        accuracyKept === undefined ? "" : `keeps ${percent(accuracyKept.value)} of the original's accuracy, and `;
      return `the model ${kept}has a perplexity of ${short(converted.perplexity.value)} where the original has ${short(original.perplexity.value)}`;
    }
    case "embedding": {
      const { cosine, neighbours } = evaluation;
      const search =
        neighbours === undefined
          ? ""
          : `, and ${percent(neighbours.kept.value)} of the texts keep their nearest neighbour`;
      return `the embeddings have a mean cosine of ${short(cosine.value)} with the original's${search}`;
    }
    case "classification":
      return `${percent(evaluation.agreement.value)} of the decisions are the original's`;
    case "output-numbers":
      return `the outputs differ from the original's by ${percent(evaluation.error.value)} of their spread`;
    case "output-cosine":
      return `the outputs have a mean cosine of ${short(evaluation.cosine.value)} with the original's`;
  }
}

/** Says what the numbers of an evaluation mean, and when they are bad. */
export function meaningOf(evaluation: Evaluation): string {
  switch (evaluation.kind) {
    case "masked-language":
      return (
        "Masked accuracy is the share of hidden tokens that the model guesses right. Below " +
        `${leastShare("share of the accuracy kept")} of the original's accuracy, Favor warns.`
      );
    case "next-token":
      return (
        "Every token is predicted from those before it. Perplexity is the number of tokens among which the model wavers on " +
        `average; lower is better. Favor warns below ${leastShare("share of the accuracy kept")} of the original's accuracy, ` +
        `and if the perplexity grows by more than ${percent(1 / thresholds["perplexity ratio"][1] - 1)}.`
      );
    case "embedding":
      return (
        "A cosine of 1 is the same embedding. A search finds other texts long before the cosine looks low, so the nearest " +
        `neighbours count, too. Favor warns below a cosine of ${thresholds["cosine of the embeddings"][1]}, and below ` +
        `${leastShare("share of nearest neighbours kept")} of neighbours kept.`
      );
    case "classification":
      return (
        "A decision is the class with the highest score" +
        `${evaluation.decision === "one class" ? "" : ", or, here, all classes with scores above 0"}. Favor warns below ` +
        `${leastShare("agreement of the decisions")} agreement. Whether decisions are right needs labels, and is not measured.`
      );
    case "output-numbers":
      return (
        "The rank correlation is 1 if the numbers put all sequences into the same order. Favor warns below " +
        `${thresholds["rank correlation"][1]}, and if the numbers differ by more than ` +
        `${percent(Math.sqrt(1 - thresholds["explained share of the variance"][1]))} of their spread.`
      );
    case "output-cosine":
      return (
        "A cosine of 1 is the same vector. How much a lower one matters depends on what you do with the vectors; Favor warns " +
        `below ${thresholds["cosine of the outputs"][1]}. If you make one embedding of them, measure that with --pooling.`
      );
  }
}

function leastShare(measure: MeasureName): string {
  return `${100 * thresholds[measure][1]} %`;
}

/** Quality by length, as the heading of its column and a row of cells for each range. */
export interface LengthTable {
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The table of quality by length; undefined for older records, which have none. */
export function lengthTable({ kind, byLength }: Evaluation): LengthTable | undefined {
  if (byLength.length === 0) return undefined;
  const isPredicting = kind === "masked-language" || kind === "next-token";
  const value = ({ value: found }: LengthBin): string => {
    if (found === undefined) return "unknown";
    return kind === "output-cosine" || kind === "embedding" ? withInterval(found) : percentWithInterval(found);
  };
  return {
    headings: ["tokens", "sequences", ...(isPredicting ? ["original's accuracy"] : []), columnNames[kind]],
    rows: byLength.map((bin) => [
      `${grouped(bin.from)} to ${grouped(bin.to)}`,
      grouped(bin.sequences),
      ...(isPredicting ? [bin.original === undefined ? "unknown" : percent(bin.original)] : []),
      value(bin),
    ]),
  };
}

const columnNames: Readonly<Record<Evaluation["kind"], string>> = {
  "masked-language": "accuracy kept",
  "next-token": "accuracy kept",
  embedding: "cosine",
  classification: "agreement",
  "output-numbers": "error by spread",
  "output-cosine": "cosine",
};

/** How the numbers and their intervals were measured. */
export const evaluationMethod: string =
  "Both models see the same inputs: 15 % of the tokens are chosen (of these 80 % masked, 10 % replaced at random, " +
  "10 % left), seeded. Intervals are 95 % percentile bootstraps over whole sequences.";

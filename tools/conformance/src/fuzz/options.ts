/** Options of the programs that make cases by number from a corpus, for `parseArgs`. */
export const caseOptions = {
  seed: { type: "string", default: "0" },
  from: { type: "string", default: "0" },
  to: { type: "string", default: "1000" },
  case: { type: "string" },
  save: { type: "string" },
  corpus: { type: "string" },
} as const;

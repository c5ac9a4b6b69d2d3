import { convert, evaluate, measureSpeed } from "favor-convert";

const { favor } = await convert({ source: "checkpoint", output: "linear", calibrate: "train.fasta" });
console.log(`${favor.sites.length} attentions`);

const qualities = await evaluate({ original: "checkpoint", converted: ["linear"], data: "val.fasta" });
for (const quality of qualities) {
  // A masked language model is measured by its accuracy, any other by the cosine between the outputs, few numbers by their error.
  if (quality.kind === "masked-language") console.log(`accuracy: ${quality.converted.accuracy.value}`);
  if (quality.kind === "output-cosine") console.log(`cosine: ${quality.cosine.value}`);
  if (quality.kind === "output-numbers") console.log(`error: ${quality.error.value}`);
}

for (const { length, seconds } of await measureSpeed("linear", { lengths: [512] })) {
  console.log(`${seconds} s for ${length} tokens`);
}

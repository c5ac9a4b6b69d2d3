import { convert, evaluate, measureSpeed } from "favor-convert";

const { favor } = await convert({ source: "checkpoint", output: "linear", calibrate: "train.fasta" });
console.log(`${favor.sites.length} attentions`);

const qualities = await evaluate({ original: "checkpoint", converted: ["linear"], data: "val.fasta" });
for (const quality of qualities) {
  // What is measured depends on the model: `kind` is one of six.
  if (quality.kind === "masked-language") console.log(`accuracy: ${quality.converted.accuracy.value}`);
  if (quality.kind === "embedding") console.log(`cosine of the embeddings: ${quality.cosine.value}`);
  if (quality.kind === "output-numbers") console.log(`error: ${quality.error.value}`);
}

for (const { length, seconds } of await measureSpeed("linear", { lengths: [512] })) {
  console.log(`${seconds} s for ${length} tokens`);
}

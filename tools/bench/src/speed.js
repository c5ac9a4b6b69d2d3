// Time and peak memory of converted models against the original's, one forward pass of random tokens at each length.
//   node tools/bench/src/speed.js <original> <converted> [more converted models...]
// One thread. Memory is of a process of its own, runtime and weights included. Prints a Markdown table.
import { measureSpeed } from "favor-convert";

const lengths = [512, 1024, 2048, 4096];
const [original, ...converted] = process.argv.slice(2);
if (converted.length === 0) throw new Error("usage: speed.js <original> <converted> [more...]");

const measured = [];
for (const model of [original, ...converted])
  measured.push(await measureSpeed(model, { lengths, threads: 1, runs: 3 }));
console.log("| length | model | ms | peak MB | times faster | times less memory |");
console.log("|---|---|---|---|---|---|");
for (const [at, length] of lengths.entries()) {
  const base = measured[0][at];
  for (const [i, model] of [original, ...converted].entries()) {
    const { seconds, peakBytes } = measured[i][at];
    const cost = `${(1000 * seconds).toFixed(0)} | ${Math.round(peakBytes / 1e6)}`;
    const ratios = `${(base.seconds / seconds).toFixed(2)} | ${(base.peakBytes / peakBytes).toFixed(2)}`;
    console.log(`| ${length} | ${model} | ${cost} | ${ratios} |`);
  }
}

// Takes over what favor-tune measured: adds the tuning of a folder to docs/measurements/tuned.json, under a name.
//   node tools/bench/src/tuned-record.js <name> <folder that favor-tune wrote>
// The values of single sequences are left out.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [name, folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: tuned-record.js <name> <folder that favor-tune wrote>");
const file = fileURLToPath(new URL("../../../docs/measurements/tuned.json", import.meta.url));
const { tuning } = JSON.parse(readFileSync(join(folder, "favor.json"), "utf8"));
if (tuning === undefined) throw new Error(`${folder} was not tuned`);
const { settings, backend, data, stages, curveOf, curve, measured } = tuning;
const known = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {};
const all = { ...known, [name]: { settings, backend, data, stages, curveOf, curve, measured } };
const isShown = (key) => key !== "perSequence";
writeFileSync(file, `${JSON.stringify(all, (key, value) => (isShown(key) ? value : undefined), 2)}\n`);

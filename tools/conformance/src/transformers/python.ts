import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { pythonWith, scriptsOf } from "../python-environment.ts";

/** A generation of transformers: its major version. */
export type Generation = 4 | 5;

/** A checkpoint that the script wrote. */
export interface MadeCase {
  readonly index: number;
  /** The class of transformers. */
  readonly class: string;
  /** Precision, names, files and settings. */
  readonly form: readonly string[];
  /** What transformers itself makes of the folder: "equal", "differs", "lacks weights" or "refuses: ...". */
  readonly reloaded: string;
}

const scripts = scriptsOf("transformers");

/** The Python of a virtual environment with one generation of transformers, which is made if it is missing. */
export function pythonOf(generation: Generation, folder: string): string {
  return pythonWith(join(scripts, `requirements-${generation}.txt`), folder, `transformers-${generation}`);
}

/** Runs the script, and yields each case as soon as its folder is written. */
export async function* makeCheckpoints(
  python: string,
  { seed, from, to, out }: { readonly seed: number; readonly from: number; readonly to: number; readonly out: string },
): AsyncGenerator<MadeCase> {
  const numbers = Object.entries({ seed, from, to }).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const parameters = [join(scripts, "make_checkpoints.py"), ...numbers, "--out", out];
  const child = spawn(python, parameters, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  for await (const line of createInterface(child.stdout)) yield JSON.parse(line) as MadeCase;
  const status = await ended;
  if (status !== 0) throw new Error(`${parameters.join(" ")} ended with ${status}.`);
}

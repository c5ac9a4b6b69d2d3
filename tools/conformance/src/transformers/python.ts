import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

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

/** The folder of this package, seen from src/transformers/ and from dist/. */
const root = ["../../", "../"]
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((folder) => existsSync(join(folder, "python")))!;
const scripts = join(root, "python/transformers");

/** Where the virtual environments are by default: `.venv` at the top of the repository. */
export const defaultEnvironments: string = join(root, "../../.venv");

/** The Python of a virtual environment with one generation of transformers, which is made if it is missing. */
export function pythonOf(generation: Generation, folder: string): string {
  const environment = join(folder, `transformers-${generation}`);
  const python = join(environment, "bin", "python");
  const requirements = join(scripts, `requirements-${generation}.txt`);
  if (!existsSync(python)) {
    command("python3", ["-m", "venv", environment]);
    command(python, ["-m", "pip", "install", "--quiet", "-r", requirements]);
  }
  return python;
}

function command(program: string, parameters: readonly string[]): void {
  const { status, error } = spawnSync(program, parameters, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`${[program, ...parameters].join(" ")} failed.`, { cause: error });
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

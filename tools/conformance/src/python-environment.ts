import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of this package, seen from src/ and from dist/. */
const root = fileURLToPath(new URL("../", import.meta.url));

/** The folder of Python scripts of that name. */
export const scriptsOf = (name: string): string => join(root, "python", name);

/** Where the virtual environments are by default: `.venv` at the top of the repository. */
export const defaultEnvironments: string = join(root, "../../.venv");

/**
 * The Python of a virtual environment with what a file lists, which is made if it is missing.
 *
 * @param folder where the virtual environments are
 */
export function pythonWith(requirements: string, folder: string, name: string): string {
  const environment = join(folder, name);
  const python = join(environment, "bin", "python");
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

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

import { z } from "zod";

const manifestSchema = z.object({ name: z.string(), version: z.string() });

function readManifest(path: string | URL): z.infer<typeof manifestSchema> {
  return manifestSchema.parse(JSON.parse(readFileSync(path, "utf8")));
}

/**
 * The versions of a package and of some of its dependencies, as they are installed. Manifests may allow ranges.
 *
 * @param manifest - the package.json of the package.
 * @param dependencies - names of dependencies.
 */
export function installedVersions(manifest: URL, dependencies: readonly string[]): Readonly<Record<string, string>> {
  const own = readManifest(manifest);
  const { resolve } = createRequire(manifest);
  const found = dependencies.map((name) => [name, readManifest(resolve(`${name}/package.json`)).version]);
  return { [own.name]: own.version, ...Object.fromEntries(found) };
}

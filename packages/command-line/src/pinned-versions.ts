import { readFileSync } from "node:fs";

import { z } from "zod";

const manifestSchema = z.object({
  name: z.string(),
  version: z.string(),
  dependencies: z.record(z.string(), z.string()),
});

/**
 * The versions of a package and of some of its dependencies. All dependencies are pinned exactly, so these are the
 * versions in use.
 *
 * @param manifest - the package.json of the package.
 * @param dependencies - names of dependencies.
 */
export function pinnedVersions(manifest: URL, dependencies: readonly string[]): Readonly<Record<string, string>> {
  const own = manifestSchema.parse(JSON.parse(readFileSync(manifest, "utf8")));
  return {
    [own.name]: own.version,
    ...Object.fromEntries(dependencies.map((name) => [name, own.dependencies[name] ?? "unknown"])),
  };
}

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { shared } from "../shared-folder.ts";
import type { ZooEntry } from "./manifest.ts";

/** A folder of models with a manifest. */
export interface ZooFolder {
  /** What the manifest lists; empty if the folder is missing. */
  readonly entries: readonly ZooEntry[];
  /** The path of a file. */
  path(file: string): string;
  /** The bytes of a file. */
  read(file: string): Uint8Array;
}

/** The zoo's core, which lies in the repository. */
export const coreZoo: ZooFolder = openFolder(new URL("../../../../tools/conformance/zoo/", import.meta.url));
/** The whole zoo, in the folder `shared` next to the repository. */
export const sharedZoo: ZooFolder = openFolder(new URL("zoo/", shared));

/** Whether the whole zoo is there; tests skip visibly where it is not. */
export const hasSharedZoo: boolean = sharedZoo.entries.length > 0;

function openFolder(folder: URL): ZooFolder {
  const manifest = new URL("manifest.json", folder);
  return {
    entries: existsSync(manifest) ? (JSON.parse(readFileSync(manifest, "utf8")) as ZooEntry[]) : [],
    path: (file) => fileURLToPath(new URL(file, folder)),
    read: (file) => new Uint8Array(readFileSync(new URL(file, folder))),
  };
}

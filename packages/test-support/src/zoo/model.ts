import type { ModelProto } from "@favor/onnx";
import { openModel } from "@favor/onnx/node";

import type { ZooFolder } from "./folder.ts";
import type { ZooEntry } from "./manifest.ts";

/** Opens the model of a zoo entry, and closes its file afterwards. */
export async function withModel<T>(folder: ZooFolder, entry: ZooEntry, use: (model: ModelProto) => T): Promise<T> {
  const { model, close } = await openModel(folder.path(entry.model));
  try {
    return await use(model);
  } finally {
    close();
  }
}

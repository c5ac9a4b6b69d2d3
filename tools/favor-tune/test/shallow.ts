import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { tiny } from "@favor/test-support/antibody";

interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/**
 * Writes a checkpoint of the embeddings, the first layer and the head of the embedded one: real weights, a fourth of the
 * work.
 *
 * @returns the folder.
 */
export async function writeShallow(folder: string): Promise<string> {
  // Without the graph: favor-convert builds one from the weights that are left.
  await cp(tiny, folder, { recursive: true, filter: (path) => path !== join(tiny, "onnx") });
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as object;
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 1 }));
  const path = join(folder, "model.safetensors");
  await writeFile(path, firstLayer(await readFile(path)));
  return folder;
}

/** A safetensors file without the weights of later layers: eight bytes with the header's length, JSON, data. */
function firstLayer(file: Buffer): Buffer {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const stored = JSON.parse(file.toString("utf8", 8, start)) as Record<string, StoredTensor>;
  const kept = Object.entries(stored).filter(([name]) => name !== "__metadata__" && !/\.layer\.[1-9]/.test(name));
  const pieces: Buffer[] = [];
  let offset = 0;
  const header = kept.map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      pieces.push(file.subarray(start + from, start + to));
      const moved = [offset, (offset += to - from)];
      return [name, { dtype, shape, data_offsets: moved }] as const;
    },
  );
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...pieces]);
}

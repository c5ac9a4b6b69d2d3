/**
 * Prints time and peak memory of copying a model through `openModel` and `writeModel`, source hashing included, for a
 * BERT-base of 440 MB with its weights in the file and a model of 5 GB with external data (a sparse file). Not a test:
 * it takes a minute or two, most of it the disk's, and 6 GB of disk, all of it removed afterwards.
 *
 *   npm run build && node packages/onnx/test/model/measure-io.js [python with onnx, to compare with onnx.load and save]
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createMessage, DataType, encodeModel, modelTensors, tensorValues } from "@favor/onnx";
import { openModel, writeModel } from "@favor/onnx/node";
import Long from "long";

const [mode, ...rest] = process.argv.slice(2);
const script = fileURLToPath(import.meta.url);

/** Bytes without a pattern, of a range of any length: what they are does not matter, only that they are not zero. */
function noise(length) {
  const block = new Uint8Array(1 << 16);
  for (let index = 0, state = 1; index < block.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    block[index] = state >>> 24;
  }
  const readInto = (target, offset) => {
    for (let done = 0; done < target.length;) {
      const from = (offset + done) % block.length;
      const part = block.subarray(from, from + target.length - done);
      target.set(part, done);
      done += part.length;
    }
  };
  return { length, readInto };
}

function modelOf(shapes, tensor) {
  const initializer = shapes.map(([name, ...dims]) =>
    createMessage("TensorProto", {
      name,
      dataType: DataType.FLOAT,
      dims: dims.map((dim) => Long.fromNumber(dim)),
      ...tensor(4 * dims.reduce((product, dim) => product * dim, 1)),
    }),
  );
  const node = shapes.map(([name]) =>
    createMessage("NodeProto", {
      opType: "MatMul",
      name: `/${name}/MatMul`,
      input: ["x", name],
      output: [`${name}_out`],
    }),
  );
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", { name: "g", node, initializer }),
  });
}

function bertLayer(index) {
  return [
    ...["query", "key", "value", "dense"].flatMap((name) => [
      [`layer.${index}.${name}.weight`, 768, 768],
      [`layer.${index}.${name}.bias`, 768],
    ]),
    [`layer.${index}.intermediate.weight`, 768, 3072],
    [`layer.${index}.intermediate.bias`, 3072],
    [`layer.${index}.output.weight`, 3072, 768],
    ...["output.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"].map((name) => [
      `layer.${index}.${name}`,
      768,
    ]),
  ];
}

function bertBase() {
  const embeddings = [
    ["word_embeddings", 30522, 768],
    ["position_embeddings", 512, 768],
    ["token_type_embeddings", 2, 768],
    ["pooler", 768, 768],
  ];
  return [...embeddings, ...Array.from({ length: 12 }, (_, index) => bertLayer(index)).flat()];
}

function entry(key, value) {
  return createMessage("StringStringEntryProto", { key, value: String(value) });
}

async function make(path, externalPath) {
  if (externalPath === undefined) {
    const source = (length) => ({ source: { field: "rawData", range: noise(length) } });
    await writeModel(modelOf(bertBase(), source), path);
    return;
  }
  // 80 weights of 64 MiB
  let offset = 0;
  const model = modelOf(
    Array.from({ length: 80 }, (_, index) => [`layer.${index}.query.weight`, 4096, 4096]),
    (length) => {
      const externalData = [entry("location", "large.bin"), entry("offset", offset), entry("length", length)];
      offset += length;
      return { dataLocation: 1, externalData };
    },
  );
  fs.writeFileSync(externalPath, "");
  fs.truncateSync(externalPath, offset);
  fs.writeFileSync(path, encodeModel(model));
}

function seconds(from, to) {
  return `${((to - from) / 1000).toFixed(2)} s`;
}

/** What a conversion does to the files: hash the source, read some weights, write everything. */
async function convert(path, output) {
  const start = performance.now();
  const opened = await openModel(path);
  const parsed = performance.now();
  await opened.sha256();
  const hashed = performance.now();
  let read = 0;
  for (const tensor of modelTensors(opened.model)) {
    if (tensor.name.includes("query.weight")) read += tensorValues(tensor).data.length;
  }
  await writeModel(opened.model, output);
  opened.close();
  const end = performance.now();
  console.log(
    `open ${seconds(start, parsed)}, hash ${seconds(parsed, hashed)}, write ${seconds(hashed, end)}; ` +
      `all ${seconds(start, end)}, ${(read / 1e6).toFixed(0)} million values read`,
  );
}

const python = `
import onnx, resource, sys, time
bare = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.time()
onnx.save(onnx.load(sys.argv[1]), sys.argv[2])
print(f"load and save {time.time() - start:.2f} s; {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - bare) / 1024:.0f} MB above Python's own")
`;

function child(...args) {
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${args.join(" ")}: ${stderr}`);
  const lines = stdout.trim().split("\n");
  return { text: lines.slice(0, -1).join("; "), megabytes: Number(lines.at(-1)) };
}

async function main() {
  const folder = fs.mkdtempSync(join(tmpdir(), "favor-measure-"));
  try {
    const bare = child("bare").megabytes;
    console.log(`Node and the package alone: ${bare.toFixed(0)} MB`);
    const models = [
      ["440 MB, weights in the file", "bert.onnx"],
      ["5 GB, external data", "large.onnx", join(folder, "large.bin")],
    ];
    for (const [title, name, external] of models) {
      const path = join(folder, name);
      child("make", path, ...(external === undefined ? [] : [external]));
      // The file has just been written: every reader finds it in the page cache.
      const { text, megabytes } = child("convert", path, join(folder, `out-${name}`));
      console.log(`${title}: ${text}; peak ${(megabytes - bare).toFixed(0)} MB above Node's own`);
      if (rest.length === 0 && mode !== undefined && external === undefined) {
        const { stdout, stderr } = spawnSync(mode, ["-c", python, path, join(folder, "python.onnx")], {
          encoding: "utf8",
        });
        console.log(`${title}, Python: ${stdout.trim() || stderr}`);
      }
      for (const file of fs.readdirSync(folder)) fs.rmSync(join(folder, file));
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

if (mode === "make") await make(...rest);
else if (mode === "convert") await convert(...rest);
else if (mode !== "bare") await main();
if (mode === "make" || mode === "convert" || mode === "bare") {
  console.log(process.resourceUsage().maxRSS / 1024);
}

import { createHash } from "node:crypto";
import fs from "node:fs";
import Long from "long";
import { afterEach, describe, expect, it, vi } from "vitest";
import { DataType } from "../../src/model/proto.ts";
import { ModelFileError } from "../../src/model/errors.ts";
import { createMessage } from "../../src/model/schema.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { makeTensor, tensorValues } from "../../src/model/tensor.ts";
import { modelTensors } from "../../src/model/walk.ts";
import type { ByteRange } from "../../src/model/byte-range.ts";
import type { ModelProto, TensorProto } from "../../src/model/proto.ts";
import { hashFile } from "../../src/node/input-file.ts";
import { openModel } from "../../src/node/open-model.ts";
import { writeModel } from "../../src/node/write-model.ts";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";

const inFolder = folderOfEachTest();
afterEach(() => {
  vi.restoreAllMocks();
});

function weight(name: string, length: number): TensorProto {
  return makeTensor(
    name,
    [length],
    DataType.FLOAT,
    Float32Array.from({ length }, (_, index) => index),
  );
}

/** Weights "a" of 1.2 MB (which begin at 64 KiB as external data), "b" of 2 KB, "c" of 8 bytes, and one in a node. */
function someModel(): ModelProto {
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", {
      name: "g",
      node: [
        createMessage("NodeProto", {
          opType: "Constant",
          output: ["d"],
          attribute: [createMessage("AttributeProto", { name: "value", type: 4, t: weight("d", 600) })],
        }),
      ],
      initializer: [weight("b", 500), weight("a", 300_000), weight("c", 2)],
    }),
  });
}

/** Writes the model and gives its bytes. */
async function store(name = "model.onnx"): Promise<Uint8Array> {
  await writeModel(someModel(), inFolder(name));
  return fs.readFileSync(inFolder(name));
}

const listed = (): string[] => fs.readdirSync(inFolder()).toSorted();
const failure = (code: string): Error => Object.assign(new Error(code), { code });

describe("openModel", () => {
  it("leaves weights in the file until they are wanted", async () => {
    const bytes = await store();
    expect(Buffer.compare(bytes, encodeModel(someModel()))).toBe(0);
    const opened = await openModel(inFolder("model.onnx"));
    const held = modelTensors(opened.model).map(({ name, source, rawData }) => [
      name,
      source?.range.length,
      rawData.length,
    ]);
    expect(held).toEqual([
      ["b", 2000, 0],
      ["a", 1_200_000, 0],
      ["c", undefined, 8],
      ["d", 2400, 0],
    ]);
    expect(tensorValues(opened.model.graph.initializer[1]!).data[299_999]).toBe(299_999);
    expect(opened.length).toBe(bytes.length);
    opened.close();
  });

  it("hashes the file", async () => {
    const bytes = await store();
    const expected = createHash("sha256").update(bytes).digest("hex");
    const opened = await openModel(inFolder("model.onnx"));
    expect(await opened.sha256()).toBe(expected);
    opened.close();
    expect(await hashFile(inFolder("model.onnx"))).toBe(expected);
  });

  it("hashes files of no bytes, and of more than are read at a time", async () => {
    for (const length of [0, 1 << 20, (5 << 20) + 3]) {
      const bytes = new Uint8Array(length).map((_, index) => index >>> 8);
      fs.writeFileSync(inFolder("some.bin"), bytes);
      expect(await hashFile(inFolder("some.bin"))).toBe(createHash("sha256").update(bytes).digest("hex"));
    }
  });

  it("stops hashing when the model is closed or its file changes", async () => {
    await writeModel({ ...someModel(), producerName: "x".repeat(5 << 20) }, inFolder("model.onnx"));
    const opened = await openModel(inFolder("model.onnx"));
    const hashing = opened.sha256();
    opened.close();
    await expect(hashing).rejects.toMatchObject({ code: "io-failed", message: expect.stringMatching(/closed/) });
    const changing = await openModel(inFolder("model.onnx"));
    const hash = changing.sha256();
    fs.truncateSync(inFolder("model.onnx"), 1000);
    await expect(hash).rejects.toMatchObject({ code: "file-changed" });
    changing.close();
  });

  it("says what is wrong with the path", async () => {
    await expect(openModel(inFolder("missing.onnx"))).rejects.toMatchObject({ code: "not-found" });
    await expect(openModel(inFolder())).rejects.toMatchObject({ code: "not-a-file" });
    fs.writeFileSync(inFolder("empty.onnx"), "");
    await expect(openModel(inFolder("empty.onnx"))).rejects.toMatchObject({ code: "empty-file" });
    vi.spyOn(fs, "openSync").mockImplementation(() => {
      throw failure("EACCES");
    });
    await expect(openModel(inFolder("empty.onnx"))).rejects.toMatchObject({ code: "permission-denied" });
  });

  it("notices that the file has changed", async () => {
    await store();
    const opened = await openModel(inFolder("model.onnx"));
    fs.truncateSync(inFolder("model.onnx"), 1000);
    expect(() => tensorValues(opened.model.graph.initializer[1]!)).toThrow(/changed while it was being read/);
    await expect(writeModel(opened.model, inFolder("copy.onnx"))).rejects.toMatchObject({ code: "file-changed" });
    expect(listed()).toEqual(["model.onnx"]);
    opened.close();
  });

  it("fault 18: refuses 2 GiB in one file", async () => {
    await store();
    fs.truncateSync(inFolder("model.onnx"), 2 ** 31);
    await expect(openModel(inFolder("model.onnx"))).rejects.toMatchObject({ code: "limit-exceeded" });
  });
});

describe("writeModel", () => {
  it("copies a model to the byte", async () => {
    const bytes = await store();
    const opened = await openModel(inFolder("model.onnx"));
    const written = await writeModel(opened.model, inFolder("copy.onnx"));
    opened.close();
    expect(written).toEqual({ model: { path: inFolder("copy.onnx"), length: bytes.length }, data: undefined });
    expect(Buffer.compare(fs.readFileSync(inFolder("copy.onnx")), bytes)).toBe(0);
    expect(listed()).toEqual(["copy.onnx", "model.onnx"]);
  });

  it("moves initializers to external data, aligned, and back", async () => {
    const bytes = await store();
    const opened = await openModel(inFolder("model.onnx"));
    const { data } = await writeModel(opened.model, inFolder("external.onnx"), { externalData: { threshold: 1024 } });
    opened.close();
    expect(data).toEqual({ path: inFolder("external.onnx_data"), length: 65536 + 1_200_000 });

    const external = await openModel(inFolder("external.onnx"));
    const places = modelTensors(external.model).map((tensor) =>
      tensor.externalData.map(({ key, value }) => `${key}=${value}`).join(" "),
    );
    expect(places).toEqual([
      "location=external.onnx_data offset=0 length=2000",
      "location=external.onnx_data offset=65536 length=1200000",
      "",
      "",
    ]);
    expect(tensorValues(external.model.graph.initializer[1]!).data[299_999]).toBe(299_999);

    // kept external under another name, then taken in again
    await writeModel(external.model, inFolder("kept.onnx"));
    external.close();
    const kept = await openModel(inFolder("kept.onnx"));
    expect(kept.externalFiles).toEqual([inFolder("kept.onnx_data")]);
    await writeModel(kept.model, inFolder("inline.onnx"), { externalData: "inline" });
    kept.close();
    expect(Buffer.compare(fs.readFileSync(inFolder("inline.onnx")), bytes)).toBe(0);
  });

  it("hashes what it writes, where that is asked for", async () => {
    const model = someModel();
    model.graph.initializer.push(weight("e", 2_500_000));
    const bytes = encodeModel(model);
    const { model: inline, data: none } = await writeModel(model, inFolder("inline.onnx"), { sha256: true });
    expect(Buffer.compare(fs.readFileSync(inFolder("inline.onnx")), bytes)).toBe(0);
    expect(none).toBeUndefined();
    expect(inline.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    const files = await writeModel(model, inFolder("model.onnx"), { externalData: {}, sha256: true });
    for (const file of [files.model, files.data!]) {
      expect(file.sha256).toBe(createHash("sha256").update(fs.readFileSync(file.path)).digest("hex"));
    }
    expect((await writeModel(model, inFolder("model.onnx"))).model).not.toHaveProperty("sha256");
  });

  it("keeps shared regions shared", async () => {
    await writeModel(someModel(), inFolder("model.onnx"), { externalData: {} });
    const opened = await openModel(inFolder("model.onnx"));
    const { graph } = opened.model;
    graph.initializer.push({ ...graph.initializer[1]!, name: "tied" });
    const { data } = await writeModel(opened.model, inFolder("tied.onnx"));
    opened.close();
    expect(data!.length).toBe(65536 + 1_200_000);
    const tied = await openModel(inFolder("tied.onnx"));
    expect(tensorValues(tied.model.graph.initializer[3]!).data[7]).toBe(7);
    tied.close();
  });

  it("fault 18: weights beyond 2 GiB become external", async () => {
    const model = someModel();
    const length = 3 * 2 ** 30;
    model.graph.initializer[1]!.dims = [Long.fromNumber(length / 4)];
    model.graph.initializer[1]!.rawData = new Uint8Array(0);
    const readInto = vi.fn<ByteRange["readInto"]>(() => {
      throw new Error("stop");
    });
    model.graph.initializer[1]!.source = { field: "rawData", range: { length, readInto } };
    await expect(writeModel(model, inFolder("model.onnx"))).rejects.toThrow("stop");
    // It was the data file that was being written: the model file cannot hold the weight.
    expect(readInto).toHaveBeenCalledOnce();
    await expect(writeModel(model, inFolder("model.onnx"), { externalData: "inline" })).rejects.toMatchObject({
      code: "limit-exceeded",
    });
    expect(listed()).toEqual([]);
  });

  it("fault 60: never writes over a model that is open, under whatever name", async () => {
    const bytes = await store();
    fs.linkSync(inFolder("model.onnx"), inFolder("other-name.onnx"));
    fs.symlinkSync(inFolder("model.onnx"), inFolder("link.onnx"));
    const opened = await openModel(inFolder("model.onnx"));
    for (const name of ["model.onnx", "other-name.onnx", "link.onnx"]) {
      await expect(writeModel(opened.model, inFolder(name))).rejects.toMatchObject({ code: "would-overwrite" });
    }
    await expect(
      writeModel(opened.model, inFolder("new.onnx"), { externalData: { location: "model.onnx" } }),
    ).rejects.toMatchObject({ code: "would-overwrite" });
    opened.close();
    expect(Buffer.compare(fs.readFileSync(inFolder("model.onnx")), bytes)).toBe(0);
    expect(listed()).toEqual(["link.onnx", "model.onnx", "other-name.onnx"]);
    await writeModel(someModel(), inFolder("model.onnx"));
  });

  it("fault 60: nor over the external data of one", async () => {
    await writeModel(someModel(), inFolder("model.onnx"), { externalData: {} });
    const opened = await openModel(inFolder("model.onnx"));
    await expect(writeModel(opened.model, inFolder("model.onnx_data"))).rejects.toMatchObject({
      code: "would-overwrite",
    });
    await expect(
      writeModel(opened.model, inFolder("new.onnx"), { externalData: { location: "model.onnx_data" } }),
    ).rejects.toMatchObject({ code: "would-overwrite" });
    opened.close();
  });

  it.each([
    ["ENOSPC", "no-space", /disk is full/],
    ["EDQUOT", "no-space", /quota/],
    ["EROFS", "read-only", /read-only/],
    ["EACCES", "permission-denied", /not allowed/],
    ["EIO", "io-failed", /EIO/],
  ])("%s at any step leaves nothing behind", async (system, code, message) => {
    const open = fs.promises.open.bind(fs.promises);
    const model = someModel();
    // More than is written at a time.
    model.graph.initializer.push(weight("e", 2_000_000));
    // the system calls that fail: opening, the first write, a later one, flushing, renaming
    for (const step of ["open", "write 1", "write 2", "sync", "rename"]) {
      vi.spyOn(fs.promises, "open").mockImplementation(async (...args) => {
        if (step === "open") throw failure(system);
        const handle = await open(...args);
        const write = handle.write.bind(handle) as (...rest: unknown[]) => Promise<unknown>;
        let writes = 0;
        const failing = (...rest: unknown[]): Promise<unknown> => {
          writes += 1;
          return step === `write ${writes}` ? Promise.reject(failure(system)) : write(...rest);
        };
        if (step === "sync") handle.sync = () => Promise.reject(failure(system));
        return Object.assign(handle, { write: failing });
      });
      if (step === "rename") vi.spyOn(fs.promises, "rename").mockRejectedValue(failure(system));
      const thrown: unknown = await writeModel(model, inFolder("model.onnx")).catch((error: unknown) => error);
      expect([step, thrown]).toEqual([step, expect.any(ModelFileError)]);
      expect(thrown).toMatchObject({ code, path: inFolder("model.onnx"), message: expect.stringMatching(message) });
      expect([step, ...listed()]).toEqual([step]);
      vi.restoreAllMocks();
    }
  });

  it("a missing folder, a folder in its place", async () => {
    await expect(writeModel(someModel(), inFolder("no", "model.onnx"))).rejects.toMatchObject({ code: "not-found" });
    fs.mkdirSync(inFolder("model.onnx"));
    await expect(writeModel(someModel(), inFolder("model.onnx"))).rejects.toMatchObject({ code: "not-a-file" });
    expect(listed()).toEqual(["model.onnx"]);
  });

  it("when stopped, leaves the old file and nothing else", async () => {
    const bytes = await store();
    const controller = new AbortController();
    const model = someModel();
    const [b] = model.graph.initializer;
    b!.source = {
      field: "rawData",
      range: {
        length: 2000,
        readInto: () => {
          controller.abort(new Error("stopped"));
        },
      },
    };
    b!.rawData = new Uint8Array(0);
    await expect(writeModel(model, inFolder("model.onnx"), { signal: controller.signal })).rejects.toThrow("stopped");
    expect(Buffer.compare(fs.readFileSync(inFolder("model.onnx")), bytes)).toBe(0);
    expect(listed()).toEqual(["model.onnx"]);
  });

  it("refuses a name for the data that a reader would refuse", async () => {
    for (const location of ["../data", "sub/data", "model.onnx", "NUL", "a:b"]) {
      const writing = writeModel(someModel(), inFolder("model.onnx"), { externalData: { location } });
      await expect(writing).rejects.toThrow(JSON.stringify(location));
    }
    expect(listed()).toEqual([]);
  });
});

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import Long from "long";
import { describe, expect, it, vi } from "vitest";
import { DataType } from "../../src/model/proto.ts";
import { ExternalDataError } from "../../src/model/errors.ts";
import { attachExternalData, externalDataFromMemory } from "../../src/model/external-data.ts";
import { createMessage } from "../../src/model/schema.ts";
import { decodeModel } from "../../src/model/decode.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { modelTensors } from "../../src/model/walk.ts";
import { tensorValues } from "../../src/model/tensor.ts";
import type { ModelProto, TensorProto } from "../../src/model/proto.ts";
import { openModel } from "../../src/node/open-model.ts";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";

const inFolder = folderOfEachTest();
const data = new Uint8Array(Float32Array.from({ length: 64 }, (_, index) => index).buffer);

/** A FLOAT[8] tensor with the given external data entries. */
function external(entries: Record<string, string> | [string, string][], name = "w"): TensorProto {
  const list = Array.isArray(entries) ? entries : Object.entries(entries);
  return createMessage("TensorProto", {
    name,
    dataType: DataType.FLOAT,
    dims: [Long.fromNumber(8)],
    dataLocation: 1,
    externalData: list.map(([key, value]) => createMessage("StringStringEntryProto", { key, value })),
  });
}

function modelOf(...initializer: TensorProto[]): ModelProto {
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", { name: "g", initializer }),
  });
}

/** Writes the model next to a data file `w.bin` of 64 floats, 0 to 63. */
function store(...tensors: TensorProto[]): string {
  fs.writeFileSync(inFolder("model.onnx"), encodeModel(modelOf(...tensors)));
  if (!fs.existsSync(inFolder("w.bin"))) fs.writeFileSync(inFolder("w.bin"), data);
  return inFolder("model.onnx");
}

/** The message with which opening a model of these tensors is refused. Nothing may stay open. */
async function refusal(...tensors: TensorProto[]): Promise<string> {
  const open = vi.spyOn(fs, "openSync");
  const close = vi.spyOn(fs, "closeSync");
  try {
    const opened = await openModel(store(...tensors));
    opened.close();
  } catch (error) {
    const leaked = open.mock.settledResults.filter(({ type }) => type === "fulfilled").length - close.mock.calls.length;
    if (leaked !== 0) throw new Error(`${leaked} files were left open`, { cause: error });
    if (error instanceof ExternalDataError && error.tensor !== "") return error.message;
    throw error;
  } finally {
    open.mockRestore();
    close.mockRestore();
  }
  throw new Error("the model was not refused");
}

const region = (offset: number, name: string): TensorProto =>
  external({ location: "w.bin", offset: String(offset), length: "32" }, name);

const at = (location: string, rest: Record<string, string> = {}): Promise<string> =>
  refusal(external({ location, ...rest }));

describe("external data", () => {
  it("is read where it lies, with and without offset and length, below the folder too", async () => {
    fs.mkdirSync(inFolder("sub"));
    fs.writeFileSync(inFolder("sub", "v.bin"), data.subarray(32, 64));
    const path = store(
      external({ location: "w.bin", offset: "32", length: "32" }, "a"),
      external({ location: "sub/v.bin" }, "b"),
      external({ location: "./w.bin", offset: "64", checksum: "00", basepath: "/elsewhere" }, "c"),
    );
    const opened = await openModel(path);
    const values = modelTensors(opened.model).map((tensor) => tensorValues(tensor).data[0]);
    expect(values).toEqual([8, 8, 16]);
    expect(opened.externalFiles.toSorted()).toEqual([inFolder("sub", "v.bin"), inFolder("w.bin")]);
    opened.close();
    expect(() => tensorValues(modelTensors(opened.model)[0]!)).toThrow(/has been closed/);
  });

  it("is given from memory in a browser", () => {
    const model = decodeModel(encodeModel(modelOf(external({ location: "w.bin", offset: "32" }))));
    expect(() => tensorValues(model.graph.initializer[0]!)).toThrow(/has not been attached/);
    attachExternalData(model, externalDataFromMemory(new Map([["w.bin", data]])));
    expect(tensorValues(model.graph.initializer[0]!).data[0]).toBe(8);
    const other = modelOf(external({ location: "x.bin" }));
    expect(() => attachExternalData(other, externalDataFromMemory(new Map([["w.bin", data]])))).toThrow(
      /The given files are: w.bin/,
    );
  });

  it("fault 48: ../x", async () => {
    fs.mkdirSync(inFolder("sub"));
    expect(await at("../w.bin")).toMatch(/has "\.\."/);
    expect(await at("..")).toMatch(/names a folder/);
  });

  it("fault 49: absolute", async () => {
    expect(await at(inFolder("w.bin"))).toMatch(/absolute/);
    expect(await at("/etc/passwd")).toMatch(/absolute/);
  });

  it("fault 50: drive letters", async () => {
    expect(await at("C:\\w.bin")).toMatch(/absolute/);
    expect(await at("C:w.bin")).toMatch(/absolute/);
    expect(await at("sub/D:w.bin")).toMatch(/has one of/);
  });

  it("fault 51: UNC and other backslashes", async () => {
    expect(await at("\\\\host\\share\\w.bin")).toMatch(/absolute/);
    expect(await at("//host/share/w.bin")).toMatch(/absolute/);
    expect(await at("sub\\..\\w.bin")).toMatch(/has one of/);
  });

  it("fault 52: NUL and other control characters", async () => {
    expect(await at("w.bin\0.txt")).toMatch(/control character/);
    expect(await at("w.bin\n")).toMatch(/control character/);
  });

  it("fault 53: a/../b, and what Windows makes of names", async () => {
    fs.mkdirSync(inFolder("a"));
    expect(await at("a/../w.bin")).toMatch(/has "\.\."/);
    expect(await at("a//w.bin")).toMatch(/empty part/);
    expect(await at("w.bin.")).toMatch(/ends with a dot/);
    expect(await at("...")).toMatch(/names a folder/);
    expect(await at("./.")).toMatch(/names a folder/);
    expect(await at("a/.../b")).toMatch(/ends with a dot/);
    expect(await at("NUL")).toMatch(/device name/);
    expect(await at("a/com1.bin")).toMatch(/device name/);
    expect(await at("")).toMatch(/no location/);
  });

  it("onnxruntime's addresses in memory", async () => {
    expect(await at("*/_ORT_MEM_ADDR_/*")).toMatch(/address in the memory/);
  });

  describe.skipIf(process.platform === "win32")("fault 54: no regular file of one name (needs POSIX)", () => {
    it("a symbolic link, and a folder that is one", async () => {
      store();
      fs.symlinkSync(inFolder("w.bin"), inFolder("link.bin"));
      expect(await at("link.bin")).toMatch(/symbolic link/);
      fs.mkdirSync(inFolder("real"));
      fs.writeFileSync(inFolder("real", "v.bin"), data);
      fs.symlinkSync(inFolder("real"), inFolder("linked"));
      expect(await at("linked/v.bin")).toMatch(/symbolic link/);
      fs.symlinkSync("/etc/passwd", inFolder("out.bin"));
      expect(await at("out.bin")).toMatch(/symbolic link/);
    });

    it("a hard link", async () => {
      store();
      fs.linkSync(inFolder("w.bin"), inFolder("hard.bin"));
      expect(await at("hard.bin")).toMatch(/2 names \(hard links\)/);
    });

    it("a FIFO and a folder", async () => {
      execFileSync("mkfifo", [inFolder("pipe")]);
      expect(await at("pipe")).toMatch(/not a regular file/);
      fs.mkdirSync(inFolder("folder"));
      expect(await at("folder")).toMatch(/a folder/);
    });

    it("a file that is replaced by a link after the check", async () => {
      store();
      fs.writeFileSync(inFolder("secret"), data);
      const open = fs.openSync.bind(fs);
      vi.spyOn(fs, "openSync").mockImplementation((path, ...rest) => {
        const descriptor = open(path, ...rest);
        if (String(path).endsWith("w.bin")) {
          fs.rmSync(path);
          fs.symlinkSync(inFolder("secret"), path);
        }
        return descriptor;
      });
      await expect(openModel(store(external({ location: "w.bin" })))).rejects.toThrow(/replaced while/);
      vi.restoreAllMocks();
    });

    it("but links of a download cache, model and data alike, into one folder of files, are followed", async () => {
      const path = store(external({ location: "model.onnx_data", offset: "32" }));
      for (const folder of ["blobs", "snapshot", "elsewhere"]) fs.mkdirSync(inFolder(folder));
      fs.renameSync(path, inFolder("blobs", "aaa"));
      fs.renameSync(inFolder("w.bin"), inFolder("blobs", "bbb"));
      fs.symlinkSync("../blobs/aaa", inFolder("snapshot", "model.onnx"));
      fs.symlinkSync("../blobs/bbb", inFolder("snapshot", "model.onnx_data"));
      const opened = await openModel(inFolder("snapshot", "model.onnx"));
      expect(tensorValues(opened.model.graph.initializer[0]!).data[0]).toBe(8);
      opened.close();
      fs.renameSync(inFolder("blobs", "bbb"), inFolder("elsewhere", "bbb"));
      fs.rmSync(inFolder("snapshot", "model.onnx_data"));
      fs.symlinkSync("../elsewhere/bbb", inFolder("snapshot", "model.onnx_data"));
      await expect(openModel(inFolder("snapshot", "model.onnx"))).rejects.toThrow(/symbolic link/);
    });
  });

  it("fault 55: offset and length that are no natural numbers, or past the end", async () => {
    for (const bad of ["-1", "NaN", "", "1e3", " 1", "0x10", "9007199254740992", "99999999999999999999", "1.5"]) {
      expect(await at("w.bin", { offset: bad })).toMatch(/its offset .* is not a natural number/);
      expect(await at("w.bin", { length: bad })).toMatch(/its length .* is not a natural number/);
    }
    expect(await at("w.bin", { offset: "232" })).toMatch(/needs bytes 232 to 264, but the file has 256/);
    expect(await at("w.bin", { offset: "9007199254740991" })).toMatch(/the file has 256/);
    expect(await at("w.bin", { offset: "0", length: "9007199254740991" })).toMatch(/the file has 256/);
    await expect(openModel(store(external({ location: "w.bin", length: "28" })))).rejects.toThrow(
      /takes 32 bytes, but has 28/,
    );
  });

  it("fault 56: regions that overlap in part; the same region twice is shared", async () => {
    expect(await refusal(region(0, "a"), region(64, "b"), region(16, "c"))).toMatch(
      /16 to 48 overlap those of tensor "a"/,
    );
    const opened = await openModel(store(region(32, "a"), region(32, "b"), region(64, "c")));
    expect(opened.model.graph.initializer.map((tensor) => tensorValues(tensor).data[0])).toEqual([8, 8, 16]);
    opened.close();
  });

  it("fault 57: a missing file", async () => {
    expect(await at("missing.bin")).toMatch(/: it is not in .*Put it next to the model/);
    // The system's own words for it do not follow.
    const opening = openModel(store(external({ location: "missing.bin" })));
    await expect(opening).rejects.not.toHaveProperty("cause");
    expect(await at("w.bin/part.bin")).toMatch(/: it is not in .*Put it next to the model/);
    expect(await at(`${"long".repeat(100)}.bin`)).toMatch(/Cannot read .*ENAMETOOLONG/);
  });

  it("fault 58: duplicate and unknown keys", async () => {
    expect(
      await refusal(
        external([
          ["location", "w.bin"],
          ["location", "/etc/passwd"],
        ]),
      ),
    ).toMatch(/"location" occurs twice/);
    expect(await at("w.bin", { ["__proto__x"]: "1" })).toMatch(/"__proto__x" is not part of ONNX/);
    expect(
      await refusal(
        external([
          ["location", "w.bin"],
          ["__proto__", "1"],
        ]),
      ),
    ).toMatch(/"__proto__" is not part/);
  });

  it("fault 59: locations that differ in case only", async () => {
    fs.writeFileSync(inFolder("W.bin"), data);
    expect(await refusal(external({ location: "w.bin" }, "a"), external({ location: "W.bin" }, "b"))).toMatch(
      /another tensor writes it "w.bin"/,
    );
  });

  it("of tensors in attributes and subgraphs is checked as well", async () => {
    const hidden = external({ location: "../x" }, "hidden");
    const model = modelOf();
    const inner = createMessage("GraphProto", { initializer: [hidden] });
    model.graph.node = [
      createMessage("NodeProto", {
        opType: "If",
        attribute: [createMessage("AttributeProto", { name: "then_branch", type: 5, g: inner })],
      }),
    ];
    fs.writeFileSync(inFolder("model.onnx"), encodeModel(model));
    await expect(openModel(inFolder("model.onnx"))).rejects.toThrow(/"hidden".*has "\.\."/);
  });
});

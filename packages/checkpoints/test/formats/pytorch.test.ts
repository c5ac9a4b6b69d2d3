import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { memoryRange, readRange } from "@favor/onnx";
import { readPyTorch } from "../../src/formats/pytorch.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import type { CheckpointError, CheckpointErrorCode } from "../../src/formats/errors.ts";
import { valuesOf } from "../builders/checkpoints.ts";
import { bytesOf, little, pickle, pickledFile, torchFile, zip, type StoredView } from "./archive.ts";
import { failure } from "./failure.ts";

const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));
const refused = (bytes: Uint8Array): CheckpointError => failure(() => readPyTorch(memoryRange(bytes)));

describe("reads what torch.save writes", () => {
  const expected = readSafetensors(memoryRange(fixture("tensors.safetensors")));
  const found = readPyTorch(memoryRange(fixture("tensors.bin")));

  it("every tensor, no more", () => {
    expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
  });

  it.each([...expected.keys()])("%s", (name) => {
    const [tensor, other] = [found.get(name)!, expected.get(name)!];
    expect([tensor.dims, tensor.dataType]).toEqual([other.dims, other.dataType]);
    expect(readRange(tensor.range)).toEqual(readRange(other.range));
  });

  it("in pieces as in one", () => {
    const { range } = found.get("permuted")!;
    const whole = readRange(range);
    const pieces = [0, 32, 64].map((offset) => readRange(range, offset, 32));
    expect(bytesOf(...pieces)).toEqual(whole);
    expect(readRange(range, 40, 8)).toEqual(whole.slice(40, 48));
  });

  it("a file of several state dicts is not chosen from", () => {
    const error = failure(() => readPyTorch(memoryRange(fixture("several.bin"))));
    expect([error.code, error.message]).toEqual([
      "unsupported-format",
      expect.stringMatching(/several state dicts \(model, ema\)/),
    ]);
  });

  it.each(["wrapped.bin", "training.bin", "protocol4.bin"])("%s", (name) => {
    const tensors = readPyTorch(memoryRange(fixture(name)));
    expect(Array.from(tensors, ([key, { dims }]) => [key, dims])).toEqual([
      ["weight", [2, 3]],
      ["bias", [2]],
    ]);
  });
});

it.each([{ zip64: false }, { zip64: true }])("archives are read, %o", (options) => {
  const plain = readPyTorch(memoryRange(torchFile({}, options)));
  expect(valuesOf(plain.get("w")!)).toEqual([0, 1, 2, 3, 4, 5]);
  const transposed = readPyTorch(memoryRange(torchFile({ dims: [3, 2], strides: [1, 3] }, options)));
  expect(valuesOf(transposed.get("w")!)).toEqual([0, 3, 1, 4, 2, 5]);
});

const call = (module: string, name: string, argument: string): Uint8Array =>
  bytesOf(pickle.global(module, name), pickle.mark, pickle.text(argument), pickle.tuple, pickle.reduce);

describe("executes nothing", () => {
  it.each([
    ["os.system", call("os", "system", "touch /tmp/hacked")],
    ["posix.system", call("posix", "system", "id")],
    ["builtins.eval", call("builtins", "eval", "1")],
    ["builtins.getattr", call("builtins", "getattr", "x")],
    ["torch.hub.load", call("torch.hub", "load", "x")],
    ["torch._utils._rebuild_tensor_v2.__globals__", call("torch._utils", "_rebuild_tensor_v2.__globals__", "x")],
    ["__main__.Net", pickle.global("__main__", "Net")],
    ["torch.FloatStorage", call("torch", "FloatStorage", "x")],
  ])("%s is refused by name", (name, opcodes) => {
    const error = refused(pickledFile(opcodes));
    expect(error.code).toBe("unsafe-pickle");
    expect(error.details["global"]).toBe(name);
    expect(error.message).toContain(name);
  });

  it("a global by STACK_GLOBAL is refused as well", () => {
    const error = refused(pickledFile(bytesOf(pickle.text("os"), pickle.text("system"), 0x93)));
    expect(error.details["global"]).toBe("os.system");
  });

  it("a whole module (torch.save(model)) is refused by its class", () => {
    const error = refused(fixture("module.bin"));
    expect(error.code).toBe("unsafe-pickle");
    expect(error.details["global"]).toBe("torch.nn.modules.linear.Linear");
  });

  it.each([
    ["INST", "i"],
    ["OBJ", "o"],
    ["NEWOBJ", 0x81],
    ["EXT1", 0x82],
    ["PERSID", "P"],
    ["BYTEARRAY8", 0x96],
  ])("the opcode %s is refused", (_, opcode) => {
    expect(refused(pickledFile(bytesOf(opcode, "a\nb\n"))).code).toBe("unsafe-pickle");
  });

  it("a call of what is no function, and a state for what is no dictionary, are refused", () => {
    expect(refused(pickledFile(bytesOf(pickle.text("x"), pickle.emptyTuple, pickle.reduce))).code).toBe(
      "unsafe-pickle",
    );
    expect(refused(pickledFile(bytesOf(pickle.none, pickle.emptyTuple, pickle.reduce))).code).toBe("unsafe-pickle");
    expect(refused(pickledFile(bytesOf(pickle.emptyList, pickle.emptyDict, "b"))).code).toBe("unsafe-pickle");
  });
});

describe("bombs", () => {
  it.each<[string, Uint8Array]>([
    ["marks in marks", bytesOf("(".repeat(1000))],
    ["a deep stack", bytesOf("]".repeat(30_000))],
    ["a long integer", bytesOf(0x8a, 200, new Uint8Array(200))],
    ["a long string", bytesOf("X", little(70_000, 4), "x".repeat(70_000))],
  ])("%s: a limit is reached", (_, opcodes) => {
    expect(refused(pickledFile(opcodes)).code).toBe("limit-exceeded");
  });

  it("a memo of doubling tuples takes neither time nor memory", () => {
    const doubling = bytesOf(pickle.emptyTuple, "q", 0, ..."h\0h\0\x86q\0".repeat(5000));
    // Tuples of 2^5000 entries, were they written out.
    expect(refused(pickledFile(doubling)).code).toBe("malformed");
  });

  it("a memo index of 2^32 - 1 allocates nothing", () => {
    const error = refused(pickledFile(bytesOf(pickle.emptyDict, "r", little(0xffffffff, 4))));
    expect(error.message).toContain("no dictionary of tensors");
  });

  it("a pickle larger than any state dict's is not read", () => {
    const bytes = zip([{ name: "archive/data.pkl", bytes: new Uint8Array(2 ** 25 + 1) }]);
    expect(refused(bytes).code).toBe("limit-exceeded");
  });

  it("a stride of 0 does not make a small storage a huge tensor", () => {
    const error = refused(torchFile({ dims: [100_000, 100_000], strides: [0, 0] }));
    expect(error.code).toBe("limit-exceeded");
  });
});

describe("tensors that cannot be", () => {
  it.each<[string, StoredView]>([
    ["a storage of another size", { elements: 7 }],
    ["a storage of another width", { storageClass: "DoubleStorage" }],
    ["a storage that is not there", { key: "1" }],
    ["a storage outside the archive's folder", { key: "../version" }],
    ["an offset behind the end", { offset: 1 }],
    ["a shape beyond the storage", { dims: [3, 3] }],
    ["strides beyond the storage", { strides: [4, 1] }],
    ["more strides than axes", { strides: [3, 1, 1] }],
    ["a negative stride", { strides: [-3, 1] }],
    ["a negative offset", { offset: -1 }],
    ["a dimension beyond 2^53", { dims: [2 ** 53, 3] }],
    ["a product beyond 2^53", { dims: [2 ** 40, 2 ** 40], strides: [2 ** 40, 1] }],
  ])("%s", (_, view) => {
    expect(refused(torchFile(view)).code).toBe("malformed");
  });

  it("a storage class that is not PyTorch's", () => {
    expect(refused(torchFile({ storageClass: "QuantisedStorage" })).details["global"]).toBe("torch.QuantisedStorage");
  });
});

describe("other forms", () => {
  const tar = new Uint8Array(512);
  tar.set(bytesOf("ustar"), 257);
  it.each<[string, Uint8Array, CheckpointErrorCode, string]>([
    ["legacy", fixture("legacy.bin"), "unsupported-format", "legacy form"],
    ["TorchScript", fixture("torchscript.bin"), "unsupported-format", "TorchScript"],
    ["tar", tar, "unsupported-format", "tar form"],
    ["git-LFS", bytesOf("version https://git-lfs.github.com/spec/v1\n"), "unsupported-format", "git lfs pull"],
    ["big-endian", withByteOrder("big"), "unsupported-format", '"big"'],
    ["another archive", zip([{ name: "a.txt", bytes: bytesOf("a") }]), "unsupported-format", "not one of torch.save"],
    ["compressed", zip([{ name: "a/data.pkl", bytes: bytesOf("a"), method: 8 }]), "unsupported-format", "compressed"],
    ["empty", new Uint8Array(0), "malformed", "empty"],
    ["something else", bytesOf("hello"), "malformed", "no ZIP archive"],
  ])("%s is refused by name", (_, bytes, code, says) => {
    const error = refused(bytes);
    expect(error.code).toBe(code);
    expect(error.message).toContain(says);
  });

  it("a file without tensors says what was looked for", () => {
    expect(refused(pickledFile(pickle.emptyDict)).message).toContain("state_dict");
  });
});

function withByteOrder(order: string): Uint8Array {
  return zip([
    { name: "archive/data.pkl", bytes: bytesOf(pickle.start, pickle.emptyDict, pickle.stop) },
    { name: "archive/byteorder", bytes: bytesOf(order) },
  ]);
}

/** Reads everything; what was thrown, by its class. */
function outcome(bytes: Uint8Array): string {
  try {
    for (const tensor of readPyTorch(memoryRange(bytes)).values()) readRange(tensor.range);
    return "read";
  } catch (error) {
    return (error as Error).constructor.name;
  }
}

it("a file that was cut anywhere, or changed in any byte, is read or refused, and never crashes", () => {
  const whole = fixture("wrapped.bin");
  const outcomes = new Set<string>();
  for (let length = 0; length < whole.length; length += 3) outcomes.add(outcome(whole.slice(0, length)));
  expect([...outcomes]).toEqual(["CheckpointError"]);
  for (let at = 0; at < whole.length; at++) {
    const changed = Uint8Array.from(whole);
    changed[at]! ^= 1 << (at % 8);
    outcomes.add(outcome(changed));
  }
  expect([...outcomes].toSorted()).toEqual(["CheckpointError", "read"]);
});

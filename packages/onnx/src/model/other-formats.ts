import { util } from "protobufjs/minimal.js";
import { ModelFormatError } from "./errors.ts";
import type { OnnxErrorCode } from "./errors.ts";
import type { WireReader } from "./wire-reader.ts";

/** Formats that begin with fixed bytes and are often passed by mistake. */
const signatures: readonly (readonly [bytes: readonly number[], name: string, advice: string])[] = [
  [[0x50, 0x4b, 0x03, 0x04], "a ZIP archive (as PyTorch checkpoints are)", "Unpack it, or export the model to ONNX."],
  [[0x1f, 0x8b], "a gzip file", "Unpack it first."],
  [
    [0x89, 0x48, 0x44, 0x46],
    "an HDF5 file (as Keras models are)",
    "Export the model to ONNX, for instance with tf2onnx.",
  ],
  [[0x47, 0x47, 0x55, 0x46], "a GGUF file", "Use the ONNX export of the model instead."],
];

/** Throws ModelFormatError if the first bytes are those of another format. Consumes no bytes. */
export function refuseOtherFormats(reader: WireReader): void {
  if (reader.length === 0) {
    throw new ModelFormatError(
      "empty-file",
      "The model file is empty (0 bytes): the download or the export failed. Download or export it again.",
      0,
    );
  }
  const head = reader.ahead(512).buf.subarray(0, 512);
  const start = util.utf8.read(head, 0, head.length).trimStart().toLowerCase();
  if (start.startsWith("version https://git-lfs.github.com/spec/")) {
    refuse(
      "git-lfs-pointer",
      "a git-LFS pointer, not the model. Run `git lfs pull` in its repository, then try again.",
    );
  }
  if (/^<(!doctype|html|head|body|\?xml|!--)/.test(start)) {
    refuse("html-page", "a web page, not a model: a server answered with an error or login page. Download it again.");
  }
  // In protobuf, "{" would begin a group, which ONNX does not have. safetensors has its length before the "{".
  if (/^[{[]\s*["{[\]}]/.test(start)) {
    refuse(
      "json-page",
      "JSON, not a model: a server answered with an error message, or this is a configuration. Download it again.",
    );
  }
  // Eight bytes with the length of the header, the upper ones zero, then the header.
  if (head[6] === 0 && head[7] === 0 && head[8] === 0x7b && head[9] === 0x22) {
    refuse("other-format", "a safetensors file. Export the model to ONNX, or give its folder.");
  }
  for (const [bytes, name, advice] of signatures) {
    if (bytes.every((byte, index) => head[index] === byte)) refuse("other-format", `${name}. ${advice}`);
  }
}

function refuse(code: OnnxErrorCode, found: string): never {
  throw new ModelFormatError(code, `The model file is ${found}`, 0);
}

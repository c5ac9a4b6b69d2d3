/** What a file is instead of what its name says, and what to do. */
export interface OtherFormat {
  /** To follow "is": "a git-LFS pointer, not the file itself". */
  readonly what: string;
  /** A sentence. */
  readonly advice: string;
}

/** Formats that begin with fixed bytes. */
const signatures: readonly (readonly [start: string, what: string, advice: string])[] = [
  [
    "version https://git-lfs",
    "a git-LFS pointer, not the file itself",
    "Run `git lfs pull` in its repository, or download the file.",
  ],
  ["PK\x03\x04", "a ZIP archive, as PyTorch writes", "If it is a PyTorch checkpoint, name it pytorch_model.bin."],
  ["\x80\x02", "a Python pickle, as old PyTorch writes", "Load it in PyTorch and save it again as safetensors."],
  ["\x1f\x8b", "a gzip file", "Unpack it first."],
  ["\x89HDF", "an HDF5 file, as Keras writes", "Save the model as safetensors, or export it to ONNX."],
  ["GGUF", "a GGUF file", "Use the safetensors of the model instead."],
  ["\x93NUMPY", "a NumPy array", "Save the state dict as safetensors."],
];

/** Recognises a file by its first bytes (about 32) as one of the formats that are often found in another's place. */
export function otherFormat(head: Uint8Array): OtherFormat | undefined {
  if (head.length === 0) return { what: "empty (0 bytes)", advice: "Fetch it again." };
  const start = String.fromCharCode(...head.subarray(0, 512));
  const found = signatures.find(([signature]) => start.startsWith(signature));
  if (found !== undefined) return { what: found[1], advice: found[2] };
  if (/^\s*<(!doctype|html|head|body|\?xml|!--)/i.test(start)) {
    return {
      what: "a web page: a server answered with an error or a login page",
      advice: "Download the file again.",
    };
  }
  return undefined;
}

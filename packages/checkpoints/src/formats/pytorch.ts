import { readRange } from "@favor/onnx";
import type { ByteRange } from "@favor/onnx";
import { CheckpointError } from "./errors.ts";
import { otherFormat } from "./other-formats.ts";
import { unpickle } from "./pickle.ts";
import type { CheckpointTensor, StateDict } from "./state-dict.ts";
import { StoredTensor, TorchStorages, torchGlobals } from "./torch-tensors.ts";
import { zipDirectory, zipMembers } from "./zip.ts";

const pickleLimit = 1 << 25;
/** Files by `torch.save` before 1.6 begin with a pickle of the number 0x1950a86a20f9469cfc6c. */
const legacyMagic = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const zipMagic = [0x50, 0x4b, 0x03, 0x04];
/** Keys under which training frameworks save the state dict along with other things. */
const wrappings = ["state_dict", "model_state_dict", "model"];

/**
 * Reads the tensors of a file by `torch.save(model.state_dict(), ...)` of PyTorch 1.6 or later, which is a ZIP archive with
 * a pickle. Nothing in the file is executed: our own interpreter reads the pickle. It knows tensors, parameters, storages
 * and OrderedDict, and refuses every other global by name. Storages stay in the file; views that are not contiguous are
 * reordered when they are read. Anything that is not a tensor (epochs, versions) is left out. `name` is the file's name
 * in messages.
 *
 * @throws CheckpointError "unsafe-pickle", "unsupported-format" (the legacy form, TorchScript, other byte orders),
 *   "malformed", "truncated", "limit-exceeded", "unsupported-type"
 */
export function readPyTorch(file: ByteRange, name = "The PyTorch file"): StateDict {
  refuseOtherForms(file, name);
  const directory = zipDirectory(file, name);
  if (directory.some((member) => /^[^/]*\/constants\.pkl$/.test(member.name))) {
    throw unsupported(name, "a TorchScript program", "Save model.state_dict() with torch.save.");
  }
  const members = zipMembers(file, name, directory);
  const pickles = [...members.keys()].filter((member) => /^[^/]*\/data\.pkl$/.test(member));
  const [picklePath] = pickles;
  if (picklePath === undefined || pickles.length > 1) {
    throw unsupported(name, "a ZIP archive, but not one of torch.save", "Save model.state_dict() with torch.save.");
  }
  const folder = picklePath.slice(0, -"data.pkl".length);
  refuseByteOrder(members.get(`${folder}byteorder`), name);
  const pickle = members.get(picklePath)!;
  if (pickle.length > pickleLimit) {
    throw new CheckpointError(
      "limit-exceeded",
      `${name}: its pickle has ${pickle.length} bytes, more than ${pickleLimit}. Save it as safetensors.`,
    );
  }
  const storages = new TorchStorages(members, `${folder}data/`, name);
  const root = unpickle(readRange(pickle), {
    globals: torchGlobals(name),
    persistent: (id) => storages.storage(id),
  });
  return tensorsOf(root, name);
}

function refuseOtherForms(file: ByteRange, name: string): void {
  const head = readRange(file, 0, Math.min(512, file.length));
  const begins = (magic: readonly number[]): boolean => magic.every((byte, index) => head[index] === byte);
  if (begins(zipMagic)) return;
  const again = "Load it in PyTorch 1.6 or later (torch.load) and save it again (torch.save, or safetensors).";
  if (begins(legacyMagic)) throw unsupported(name, "in the legacy form of PyTorch before 1.6", again);
  const text = String.fromCharCode(...head);
  if (text.slice(257, 262) === "ustar") throw unsupported(name, "in the tar form of PyTorch before 0.2", again);
  if (head.length === 0)
    throw new CheckpointError("malformed", `${name} is empty. The download or the save failed: repeat it.`);
  const other = otherFormat(head);
  if (other !== undefined) throw unsupported(name, other.what, other.advice);
  if (head[8] === 0x7b && head[6] === 0 && head[7] === 0) {
    throw unsupported(name, "a safetensors file", "Give it the name model.safetensors.");
  }
  throw new CheckpointError(
    "malformed",
    `${name} is no ZIP archive, which every file of torch.save is. It is damaged, or of another program.`,
  );
}

function refuseByteOrder(member: ByteRange | undefined, name: string): void {
  if (member === undefined || member.length > 16) return;
  const order = String.fromCharCode(...readRange(member));
  if (order === "little") return;
  throw unsupported(name, `of byte order ${JSON.stringify(order)}`, "Save it as safetensors, which is always little.");
}

/** The state dict of what was saved: the whole, or one of its entries, next to epochs, optimisers and random states. */
function tensorsOf(root: unknown, name: string): StateDict {
  const inner = (root instanceof Map ? [...(root as Map<unknown, unknown>)] : []).flatMap(([key, value]) => {
    const tensors = tensorsIn(value);
    return tensors.size === 0 ? [] : [{ key: String(key), tensors }];
  });
  const [only, ...others] = inner;
  if (others.length > 0) {
    const names = inner.map(({ key }) => key).join(", ");
    throw unsupported(name, `a file of several state dicts (${names})`, "Save the one to convert by itself.");
  }
  const own = tensorsIn(root);
  if (only !== undefined && (own.size === 0 || wrappings.includes(only.key))) return only.tensors;
  if (own.size > 0) return own;
  throw new CheckpointError(
    "malformed",
    `${name} has no dictionary of tensors, neither at the top nor in ${wrappings.join(", ")}. Save model.state_dict().`,
  );
}

function tensorsIn(value: unknown): StateDict {
  const tensors = new Map<string, CheckpointTensor>();
  if (!(value instanceof Map)) return tensors;
  for (const [key, entry] of value as Map<unknown, unknown>) {
    if (entry instanceof StoredTensor) tensors.set(String(key), entry);
  }
  return tensors;
}

function unsupported(name: string, what: string, advice: string): CheckpointError {
  return new CheckpointError("unsupported-format", `${name} is ${what}, which is not supported. ${advice}`);
}

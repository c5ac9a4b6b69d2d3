import type { Choices } from "./random.ts";

/** Bytes at which protobuf parsers branch: ends of varints, lengths, tags. */
const notable = [0x00, 0x01, 0x0a, 0x12, 0x3a, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/**
 * A file with some of its bytes flipped, replaced, cut out, repeated or exchanged for those of another file. The given
 * bytes stay as they are.
 */
export function mutateBytes(original: Uint8Array, other: Uint8Array, choices: Choices): Uint8Array<ArrayBuffer> {
  let bytes = original.slice();
  for (let left = 1 + choices.below(8); left > 0; left--) bytes = mutateOnce(bytes, other, choices);
  return bytes;
}

function mutateOnce(bytes: Uint8Array<ArrayBuffer>, other: Uint8Array, choices: Choices): Uint8Array<ArrayBuffer> {
  const at = choices.below(bytes.length + 1);
  const length = Math.min(bytes.length - at, 1 + choices.below(choices.chance(0.8) ? 16 : 4096));
  switch (choices.below(9)) {
    case 0:
    case 1:
      if (at < bytes.length) bytes[at]! ^= 1 << choices.below(8);
      return bytes;
    case 2:
      if (at < bytes.length) bytes[at] = choices.of(notable)!;
      return bytes;
    case 3:
      if (at < bytes.length) bytes[at]! += choices.chance(0.5) ? 1 : 255;
      return bytes;
    case 4:
      return splice(bytes, at, length, new Uint8Array());
    case 5:
      return splice(bytes, at, 0, bytes.slice(at, at + length));
    case 6: {
      // A varint of up to ten bytes, as long as a length or a dimension may become.
      const varint = Uint8Array.from({ length: 1 + choices.below(11) }, () => 0x80 | choices.below(128));
      varint[varint.length - 1]! &= 0x7f;
      return splice(bytes, at, Math.min(length, choices.below(3)), varint);
    }
    case 7: {
      const from = choices.below(other.length);
      return splice(bytes, at, length, other.slice(from, from + length));
    }
    default:
      return choices.chance(0.2) ? bytes.slice(0, at) : bytes;
  }
}

function splice(bytes: Uint8Array, at: number, removed: number, inserted: Uint8Array): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(bytes.length - removed + inserted.length);
  result.set(bytes.subarray(0, at));
  result.set(inserted, at);
  result.set(bytes.subarray(at + removed), at + inserted.length);
  return result;
}

import { RandomStream, streamPurpose } from "@favor/core";

/**
 * What a model of text is fed: one sequence of random tokens, by the names of its inputs. A mask hides the last tenth, so
 * that it is in use; token types are 0.
 */
export function randomTokens(inputs: readonly string[], length: number): Record<string, BigInt64Array> {
  const random = new RandomStream({ seed: length, purpose: streamPurpose.sampling });
  const numberAt = (name: string, position: number): number => {
    if (/mask/.test(name)) return Number(position < 0.9 * length);
    return /type|segment/.test(name) ? 0 : 1 + Math.floor(random.uniform() * 20);
  };
  const drawn = (name: string) => BigInt64Array.from({ length }, (_, position) => BigInt(numberAt(name, position)));
  return Object.fromEntries(inputs.map((name) => [name, drawn(name)]));
}

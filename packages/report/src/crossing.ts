import type { MeasuredSpeed } from "./record/measured-speed.ts";
import { grouped } from "@favor/measure/numbers";

/**
 * Says at which length the converted model becomes faster than the original, as measured. Between two lengths, the logarithm
 * of the ratio of the times is taken to be linear in the logarithm of the length.
 */
export function describeCrossing({ lengths }: Pick<MeasuredSpeed, "lengths">): string {
  const points = lengths
    .map(({ length, original, converted }) => ({ length, gain: Math.log(original.seconds / converted.seconds) }))
    .toSorted((a, b) => a.length - b.length);
  // The last length at which it is not faster: times of short inputs are uncertain.
  const last = points.findLastIndex(({ gain }) => gain <= 0);
  const [before, after] = [points[last], points[last + 1]];
  if (before === undefined) return "The converted model is faster at every measured length.";
  if (after === undefined) return `The converted model is not faster yet at ${grouped(before.length)} tokens.`;
  const share = before.gain / (before.gain - after.gain);
  const crossing = before.length * (after.length / before.length) ** share;
  return (
    `The converted model becomes faster at about ${grouped(Number(crossing.toPrecision(2)))} tokens (between the measured ` +
    `${grouped(before.length)} and ${grouped(after.length)}).`
  );
}

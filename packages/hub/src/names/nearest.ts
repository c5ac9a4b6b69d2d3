/**
 * The names most like `name`, best first: by edit distance over the whole name or, for paths, over the last segment,
 * ignoring case; those further away than a third of the name's length (at least 2) are left out.
 *
 * @param count how many at most, 3 by default
 */
export function nearestNames(name: string, candidates: Iterable<string>, count = 3): string[] {
  const wanted = name.toLowerCase();
  const wantedLast = lastSegment(wanted);
  const limit = Math.max(2, Math.floor(wanted.length / 3));
  const scored: { candidate: string; distance: number }[] = [];
  for (const candidate of candidates) {
    const other = candidate.toLowerCase();
    // A right base name in another folder is the commonest slip.
    const distance = Math.min(
      editDistance(wanted, other, limit),
      editDistance(wantedLast, lastSegment(other), limit) + (wantedLast === wanted ? 0 : 1),
    );
    if (distance <= limit) scored.push({ candidate, distance });
  }
  scored.sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1));
  return scored.slice(0, count).map(({ candidate }) => candidate);
}

/** A sentence "Nearest names: a, b." or nothing. */
export function nearestSentence(nearest: readonly string[]): string {
  return nearest.length === 0 ? "" : ` Nearest names: ${nearest.map((name) => JSON.stringify(name)).join(", ")}.`;
}

function lastSegment(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Levenshtein distance, given up (as `limit + 1`) as soon as it must exceed `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    let best = row;
    for (let column = 1; column <= b.length; column++) {
      const substituted = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      const value = Math.min(substituted, previous[column]! + 1, current[column - 1]! + 1);
      current.push(value);
      best = Math.min(best, value);
    }
    if (best > limit) return limit + 1;
    previous = current;
  }
  return previous[b.length]!;
}

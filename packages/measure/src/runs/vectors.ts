/** The dot product of two vectors of the same length. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** The cosine of two vectors; 1 if both are zero, 0 if only one is. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [ab, aa, bb] = [dot(a, b), dot(a, a), dot(b, b)];
  if (aa === 0 && bb === 0) return 1;
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}

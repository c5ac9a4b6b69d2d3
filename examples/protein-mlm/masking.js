// Sequences as tokens, and the task: 15 % of the residues are hidden, the model restores them (1810.04805, section 3.1).

const aminoAcids = "ACDEFGHIKLMNPQRSTVWY";
const [padding, mask, first] = [0, 1, 2];

/** Padding, the mask, and the 20 amino acids. */
export const vocabularySize = first + aminoAcids.length;

/** The sequences of a FASTA file, as arrays of tokens. */
export function readFasta(text) {
  const sequences = text.split("\n").filter((line) => line !== "" && !line.startsWith(">"));
  return sequences.map((sequence) => Array.from(sequence, (letter) => first + aminoAcids.indexOf(letter)));
}

/** The mean of -log p(residue) where p is the share of each amino acid: what a model reaches that ignores its input. */
export function unigramEntropy(sequences) {
  const counts = Array.from({ length: vocabularySize }, () => 0);
  for (const token of sequences.flat()) counts[token]++;
  const total = counts.reduce((a, b) => a + b);
  return counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / total) * Math.log(n / total)), 0);
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The same sequences padded to one length, some of their residues hidden: 80 % of those as the mask, 10 % as another
 * residue, 10 % as they are. Labels are the hidden residues, -1 elsewhere.
 */
export function hideResidues(sequences, random) {
  const length = Math.max(...sequences.map((sequence) => sequence.length));
  const tokens = sequences.map((sequence) => Array.from({ length }, (_, j) => sequence[j] ?? padding));
  const labels = tokens.map((row) => row.map(() => -1));
  for (const [i, row] of tokens.entries()) {
    for (const [j, token] of row.entries()) {
      if (token === padding || random() >= 0.15) continue;
      labels[i][j] = token;
      const kind = random();
      if (kind < 0.8) row[j] = mask;
      else if (kind < 0.9) row[j] = first + Math.floor(random() * aminoAcids.length);
    }
  }
  return { tokens, labels };
}

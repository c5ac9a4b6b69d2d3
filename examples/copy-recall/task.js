// Sequences to copy and to recall from. All of it is filler but for
//   at the start       COPY p1 p2 ... p8          symbols to copy
//   anywhere between   8 pairs  key value         to recall from
//   at the end         COPY p1 p2 ... p8  key value  key value ...   the answers, which the model is to predict

export const count = 8;
const [symbols, values, fillers] = [32, 16, 15];
const copyMarker = symbols + values + fillers;

/** Symbols (payload and keys), then values, filler, and the marker. */
export const vocabularySize = copyMarker + 1;

/** Numbers from 0 to limit - 1, the same ones for the same seed (mulberry32). */
export function randomIntegers(seed) {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

function shuffled(length, random) {
  const order = Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = random(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** One sequence: `tokens`, the token `before` each, and `labels`, the next token where it can be known, elsewhere -1. */
export function sequence(length, random) {
  const chosen = shuffled(symbols, random);
  const payload = [copyMarker, ...chosen.slice(0, count)];
  const keys = chosen.slice(count, 2 * count);
  const pairs = keys.map((key) => [key, symbols + random(values)]);
  const tokens = Array.from({ length }, () => symbols + values + random(fillers));
  const answers = [...payload, ...shuffled(count, random).flatMap((i) => pairs[i])];
  const answersAt = length - answers.length;
  payload.forEach((token, i) => (tokens[i] = token));
  answers.forEach((token, i) => (tokens[answersAt + i] = token));
  // every third place, so that no pair overwrites another
  const places = shuffled(Math.floor((answersAt - payload.length) / 3), random);
  for (const [i, [key, value]] of pairs.entries()) {
    const at = payload.length + 3 * places[i];
    [tokens[at], tokens[at + 1]] = [key, value];
  }
  const labels = tokens.map(() => -1);
  for (let i = 0; i < count; i++) {
    labels[answersAt + i] = payload[i + 1];
    const key = answersAt + payload.length + 2 * i;
    labels[key] = tokens[key + 1];
  }
  return { tokens, before: [copyMarker, ...tokens.slice(0, -1)], labels };
}

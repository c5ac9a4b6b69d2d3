// Sweeps over blocks that lie in the first-level cache: maxima, sums, scaling. Blocks are `[rows, cols]` without gaps,
// cols a multiple of 4. Maxima ignore NaN: what is NaN stays NaN in the exponential that follows.

function horizontalMaximum(x: v128): f32 {
  const pair = f32x4.pmax(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(pair, v128.shuffle<f32>(pair, pair, 1, 0, 3, 2)), 0);
}

function horizontalSum(x: v128): f32 {
  const pair = f32x4.add(x, v128.shuffle<f32>(x, x, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.add(pair, v128.shuffle<f32>(pair, pair, 1, 0, 3, 2)), 0);
}

/** maximum[r] = max(maximum[r], max over c of x[r, c] + columnShift[c]) */
export function rowMaximum(maximum: usize, x: usize, columnShift: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    const old = load<f32>(maximum + row * 4);
    let largest = f32x4.splat(old);
    for (let j: usize = 0; j < width; j += 16) {
      largest = f32x4.pmax(largest, f32x4.add(v128.load(x + j), v128.load(columnShift + j)));
    }
    store<f32>(maximum + row * 4, horizontalMaximum(largest));
    x += width;
  }
}

/** maximum[c] = max(maximum[c], max over r of x[r, c] + rowShift[r]) */
export function columnMaximum(maximum: usize, x: usize, rowShift: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    const shift = v128.load32_splat(rowShift + row * 4);
    for (let j: usize = 0; j < width; j += 16) {
      const largest = f32x4.pmax(v128.load(maximum + j), f32x4.add(v128.load(x + j), shift));
      v128.store(maximum + j, largest);
    }
    x += width;
  }
}

/** The first row where some x[r, c] + rowShift[r] > limit[c]; rows if none. */
export function firstRowAbove(limit: usize, x: usize, rowShift: usize, rows: usize, cols: usize): usize {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    const shift = v128.load32_splat(rowShift + row * 4);
    let above = i32x4.splat(0);
    for (let j: usize = 0; j < width; j += 16) {
      above = v128.or(above, f32x4.gt(f32x4.add(v128.load(x + j), shift), v128.load(limit + j)));
    }
    if (v128.any_true(above)) return row;
    x += width;
  }
  return rows;
}

/** sums[c] += sum over r of x[r, c] */
export function columnSums(sums: usize, x: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let j: usize = 0; j < width; j += 16) {
    let sum = f32x4.splat(0);
    let from = x + j;
    for (let row: usize = 0; row < rows; row++) {
      sum = f32x4.add(sum, v128.load(from));
      from += width;
    }
    v128.store(sums + j, f32x4.add(v128.load(sums + j), sum));
  }
}

/** sums[r] += sum over c of x[r, c] weights[c] */
export function rowDots(sums: usize, x: usize, weights: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    let sum = f32x4.splat(0);
    for (let j: usize = 0; j < width; j += 16) {
      sum = f32x4.add(sum, f32x4.mul(v128.load(x + j), v128.load(weights + j)));
    }
    store<f32>(sums + row * 4, load<f32>(sums + row * 4) + horizontalSum(sum));
    x += width;
  }
}

/** sums[r] -= sum over c of x[r, c]^2 / 2 */
export function subtractHalfNorms(sums: usize, x: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    let sum = f32x4.splat(0);
    for (let j: usize = 0; j < width; j += 16) {
      const value = v128.load(x + j);
      sum = f32x4.add(sum, f32x4.mul(value, value));
    }
    store<f32>(sums + row * 4, load<f32>(sums + row * 4) - <f32>0.5 * horizontalSum(sum));
    x += width;
  }
}

/** sums[r] += sum over c <= r of x[r, c] */
export function lowerRowSums(sums: usize, x: usize, rows: usize, cols: usize): void {
  for (let row: usize = 0; row < rows; row++) {
    const whole = (row + 1) & ~(<usize>3);
    let sum = f32x4.splat(0);
    for (let j: usize = 0; j < whole; j += 4) sum = f32x4.add(sum, v128.load(x + j * 4));
    let total = load<f32>(sums + row * 4) + horizontalSum(sum);
    for (let j = whole; j <= row; j++) total += load<f32>(x + j * 4);
    store<f32>(sums + row * 4, total);
    x += cols * 4;
  }
}

/** x[r, c] *= factors[r] */
export function scaleRows(x: usize, factors: usize, rows: usize, cols: usize): void {
  const width = cols * 4;
  for (let row: usize = 0; row < rows; row++) {
    const factor = v128.load32_splat(factors + row * 4);
    for (let j: usize = 0; j < width; j += 16) v128.store(x + j, f32x4.mul(v128.load(x + j), factor));
    x += width;
  }
}

/** x[r, c] *= y[r, c] */
export function multiply(x: usize, y: usize, rows: usize, cols: usize): void {
  const bytes = rows * cols * 4;
  for (let j: usize = 0; j < bytes; j += 16) v128.store(x + j, f32x4.mul(v128.load(x + j), v128.load(y + j)));
}

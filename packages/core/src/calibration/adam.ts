/** Adam (Kingma and Ba, 1412.6980) for one array, beta = (0.9, 0.98). */
export class Adam {
  readonly #mean: Float64Array;
  readonly #square: Float64Array;
  #step = 0;

  constructor(size: number) {
    this.#mean = new Float64Array(size);
    this.#square = new Float64Array(size);
  }

  /** Moves `parameters` against `gradient` in place, each number by at most about `rate`. */
  update(parameters: Float64Array, gradient: Float64Array, rate: number): void {
    this.#step++;
    const meanScale = 1 / (1 - 0.9 ** this.#step);
    const squareScale = 1 / (1 - 0.98 ** this.#step);
    for (let i = 0; i < parameters.length; i++) {
      const value = gradient[i]!;
      this.#mean[i] = 0.9 * this.#mean[i]! + 0.1 * value;
      this.#square[i] = 0.98 * this.#square[i]! + 0.02 * value * value;
      const size = Math.sqrt(this.#square[i]! * squareScale);
      if (size > 0) parameters[i]! -= (rate * this.#mean[i]! * meanScale) / size;
    }
  }
}

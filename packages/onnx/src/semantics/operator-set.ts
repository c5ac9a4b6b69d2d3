/** Implementations of operators, found by domain and type. */
export class OperatorSet<Operator> {
  readonly #operators: ReadonlyMap<string, Operator>;

  /** @param domains operators by type, for each domain; the standard one is "" */
  constructor(domains: Readonly<Record<string, Readonly<Record<string, Operator>>>>) {
    this.#operators = new Map(
      Object.entries(domains).flatMap(([domain, table]) =>
        Object.entries(table).map(([type, operator]): [string, Operator] => [`${domain}:${type}`, operator]),
      ),
    );
  }

  /** The operator of that domain ("" and "ai.onnx" are the standard one) and type, or undefined. */
  find(domain: string, opType: string): Operator | undefined {
    return this.#operators.get(`${domain === "ai.onnx" ? "" : domain}:${opType}`);
  }

  /** `domain:opType` of every operator, sorted. */
  names(): string[] {
    return [...this.#operators.keys()].toSorted();
  }
}

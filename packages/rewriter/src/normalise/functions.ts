import type { AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto } from "@favor/onnx";
import { GraphError } from "@favor/onnx/graph";
import { bodies, makeNode, nestedGraphs } from "@favor/onnx/graph";
import { copyNode, shallowGraph } from "./copy.ts";

/** Nodes that inlining may make. Functions that call each other twice at every level would grow without bound. */
const largestExpansion = 1_000_000;
/** Nesting of bodies that inlining may make: as deep as the decoder allows in a file. */
const deepestNesting = 33;

/**
 * Replaces every call of a local function by the function's nodes, in all graphs of the model, in place. Names inside
 * become unique, and attribute references take the call's values. A call stays as it is if its function was written for
 * another version of an operator set that the model imports, because its nodes would change meaning.
 *
 * @param model whose graphs may be edited, see `CopiedModel`
 * @returns one sentence for each function that stays
 * @throws GraphError "recursive-function" if a function calls itself, and "expansion-too-large" beyond a million nodes
 *   or 33 nested bodies
 */
export function inlineFunctions(model: ModelProto): string[] {
  if (model.functions.length === 0) return [];
  const functions = new Map(model.functions.map((fn) => [keyOf(fn.domain, fn.name, fn.overload), fn]));
  requireNoRecursion(functions);
  const notes: string[] = [];
  const usable = new Map([...functions].filter(([, fn]) => adoptOpsets(model, fn, notes)));
  const inliner = new Inliner(usable, namesOf(model.graph));
  const pending = [{ graph: model.graph, depth: 0 }];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const { graph, depth } = at;
    if (depth > deepestNesting) throw nestedTooDeeply();
    graph.node = inliner.expand(graph.node);
    for (const node of graph.node) for (const body of bodies(node)) pending.push({ graph: body, depth: depth + 1 });
  }
  model.functions = model.functions.filter((fn) => !usable.has(keyOf(fn.domain, fn.name, fn.overload)));
  return notes;
}

function nestedTooDeeply(): GraphError {
  const message =
    `Inlining the model's functions nests more than ${deepestNesting} bodies of If, Loop and Scan in each other. The file ` +
    "is not an honest model, or you must simplify it (onnxsim) first.";
  return new GraphError("expansion-too-large", message);
}

const domainOf = (domain: string): string => (domain === "ai.onnx" ? "" : domain);

function keyOf(domain: string, name: string, overload: string): string {
  return [domainOf(domain), name, overload].join("\0");
}

const calledKey = (node: NodeProto): string => keyOf(node.domain, node.opType, node.overload);

/** Every node of a list, and of the bodies in it. */
function allNodes(nodes: readonly NodeProto[]): NodeProto[] {
  const inner = [...nestedGraphs(nodes.flatMap(bodies))];
  return [...nodes, ...inner.flatMap((body) => body.node)];
}

function requireNoRecursion(functions: ReadonlyMap<string, FunctionProto>): void {
  const calls = new Map(
    [...functions].map(([key, fn]) => [
      key,
      new Set(
        allNodes(fn.node)
          .map(calledKey)
          .filter((to) => functions.has(to)),
      ),
    ]),
  );
  // Functions that call nothing are taken away until none is left, or only those that call each other.
  for (let leaves = [...calls]; leaves.length > 0;) {
    leaves = [...calls].filter(([, called]) => called.size === 0);
    for (const [leaf] of leaves) {
      calls.delete(leaf);
      for (const called of calls.values()) called.delete(leaf);
    }
  }
  const [key] = calls.keys();
  if (key === undefined) return;
  const fn = functions.get(key)!;
  throw new GraphError(
    "recursive-function",
    `The model's function "${fn.name}" of domain "${fn.domain}" calls itself, directly or through others. ONNX ` +
      "does not allow that. Export the model again, or check it with onnx.checker.",
    { function: fn.name, domain: fn.domain },
  );
}

/** Makes the model import what the function needs; false if it already imports another version. */
function adoptOpsets(model: ModelProto, fn: FunctionProto, notes: string[]): boolean {
  const used = new Set(allNodes(fn.node).map((node) => domainOf(node.domain)));
  const wanted = fn.opsetImport.filter(({ domain }) => used.has(domainOf(domain)));
  const imported = new Map(model.opsetImport.map((opset) => [domainOf(opset.domain), opset]));
  for (const { domain, version } of wanted) {
    const own = imported.get(domainOf(domain));
    if (own === undefined || own.version.eq(version)) continue;
    notes.push(
      `Function "${fn.name}" is written in version ${version.toString()} of operator set "${domain || "ai.onnx"}", but the ` +
        `model in version ${own.version.toString()}. Favor did not look for attention inside it.`,
    );
    return false;
  }
  model.opsetImport.push(...wanted.filter(({ domain }) => !imported.has(domainOf(domain))));
  return true;
}

function namesOf(graph: GraphProto): Set<string> {
  const names = new Set<string>();
  for (const at of nestedGraphs([graph])) {
    for (const { name } of [...at.input, ...at.output, ...at.initializer]) names.add(name);
    for (const node of at.node) for (const name of [...node.input, ...node.output]) names.add(name);
  }
  return names;
}

class Inliner {
  readonly #functions: ReadonlyMap<string, FunctionProto>;
  readonly #names: Set<string>;
  #made = 0;
  #calls = 0;

  constructor(functions: ReadonlyMap<string, FunctionProto>, names: Set<string>) {
    this.#functions = functions;
    this.#names = names;
  }

  /** The nodes with every call among them replaced, at any depth of calls; bodies are left to the caller. */
  expand(nodes: readonly NodeProto[]): NodeProto[] {
    const done: NodeProto[] = [];
    const pending = nodes.toReversed();
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      const fn = this.#functions.get(calledKey(node));
      if (fn === undefined) done.push(node);
      else for (const inner of this.#inline(node, fn).toReversed()) pending.push(inner);
    }
    return done;
  }

  #inline(call: NodeProto, fn: FunctionProto): NodeProto[] {
    const prefix = `${call.name || fn.name}/${this.#calls++}`;
    const renamed = new Map<string, string>([["", ""]]);
    fn.input.forEach((name, i) => renamed.set(name, call.input[i] ?? ""));
    const aliases: NodeProto[] = [];
    fn.output.forEach((name, i) => {
      const outside = call.output[i] ?? "";
      if (outside === "") return;
      // An output that is an input, or that was given a name before, is handed on.
      if (renamed.has(name)) aliases.push(makeNode("Identity", [renamed.get(name)!], [outside]));
      else renamed.set(name, outside);
    });
    const attributes = new Map(fn.attributeProto.map((attr) => [attr.name, attr]));
    for (const attr of call.attribute) attributes.set(attr.name, attr);
    const nodes = this.#rename(fn.node, prefix, renamed, attributes);
    this.#made += nodes.length;
    if (this.#made > largestExpansion) {
      throw new GraphError(
        "expansion-too-large",
        `Inlining the model's functions makes more than ${largestExpansion} nodes: function "${fn.name}" is called too ` +
          "often, or the file is not an honest model.",
        { function: fn.name },
      );
    }
    return [...nodes, ...aliases];
  }

  /** Copies with values renamed and attribute references resolved, in the nodes and in all bodies in them. */
  #rename(
    nodes: readonly NodeProto[],
    prefix: string,
    renamed: Map<string, string>,
    attributes: ReadonlyMap<string, AttributeProto>,
  ): NodeProto[] {
    const nameOf = (name: string): string => {
      const known = renamed.get(name);
      if (known !== undefined) return known;
      const fresh = this.#fresh(`${prefix}/${name}`);
      renamed.set(name, fresh);
      return fresh;
    };
    const pending: GraphProto[] = [];
    const renameNode = (node: NodeProto): NodeProto => {
      const copy = copyNode(node, (body) => {
        const inner = shallowGraph(body);
        pending.push(inner);
        return inner;
      });
      return {
        ...copy,
        name: node.name === "" ? "" : `${prefix}/${node.name}`,
        input: node.input.map(nameOf),
        output: node.output.map(nameOf),
        attribute: copy.attribute.flatMap((attr) => resolve(attr, attributes)),
      };
    };
    const result = nodes.map(renameNode);
    for (let body = pending.pop(); body !== undefined; body = pending.pop()) {
      body.input = body.input.map((info) => ({ ...info, name: nameOf(info.name) }));
      body.output = body.output.map((info) => ({ ...info, name: nameOf(info.name) }));
      body.initializer = body.initializer.map((tensor) => ({ ...tensor, name: nameOf(tensor.name) }));
      body.valueInfo = body.valueInfo.map((info) => ({ ...info, name: nameOf(info.name) }));
      body.node = body.node.map(renameNode);
    }
    return result;
  }

  #fresh(stem: string): string {
    let name = stem;
    for (let i = 1; this.#names.has(name); i++) name = `${stem}_${i}`;
    this.#names.add(name);
    return name;
  }
}

/** Resolves a reference to the call's value, else to the function's default, else to nothing. */
function resolve(attr: AttributeProto, values: ReadonlyMap<string, AttributeProto>): AttributeProto[] {
  if (attr.refAttrName === "") return [attr];
  const value = values.get(attr.refAttrName);
  return value === undefined ? [] : [{ ...value, name: attr.name }];
}

// Which way the arrows go: between packages, between the folders of a package, and nowhere in a circle. `npm run structure`.
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Of each package, the others that its sources may import. Tools may import any package. */
const packages = {
  core: [],
  hub: ["core"],
  onnx: ["core"],
  rewriter: ["onnx", "core"],
  tfjs: ["core"],
  "onnx-tfjs": ["tfjs", "onnx", "core"],
  checkpoints: ["onnx", "hub", "core"],
  measure: ["checkpoints", "onnx", "core"],
  report: ["measure", "rewriter", "checkpoints", "core"],
  "command-line": ["checkpoints", "core"],
};

/**
 * Of each layer of a package's sources, the others that it may import. A layer is a folder, or files of one folder.
 * A package's own files at the top (its index, what ties the layers together) import any, and no layer imports them,
 * but for those that are layers themselves.
 */
const layers = {
  core: {
    "errors.ts": [],
    "checks.ts": ["errors.ts"],
    "options.ts": ["checks.ts", "errors.ts"],
    random: ["checks.ts", "options.ts"],
    "linear-algebra": ["checks.ts", "errors.ts"],
    projections: ["random", "linear-algebra", "checks.ts", "options.ts", "errors.ts"],
    features: ["projections", "random", "linear-algebra", "checks.ts", "options.ts", "errors.ts"],
    kernels: ["options.ts", "errors.ts"],
    attention: ["features", "kernels", "projections", "linear-algebra", "checks.ts", "options.ts", "errors.ts"],
    threads: ["attention", "kernels", "checks.ts", "options.ts", "errors.ts"],
    theory: ["features", "projections", "linear-algebra", "checks.ts", "options.ts", "errors.ts"],
    calibration: [
      "attention",
      "features",
      "projections",
      "random",
      "linear-algebra",
      "checks.ts",
      "options.ts",
      "errors.ts",
    ],
    comparison: ["attention", "projections", "checks.ts", "options.ts", "errors.ts"],
  },
  onnx: {
    model: [],
    semantics: ["model"],
    evaluate: ["semantics", "model"],
    graph: ["evaluate", "semantics", "model"],
    node: ["model"],
  },
  rewriter: {
    "options.ts": [],
    refusals: [],
    "report.ts": ["options.ts", "attention/site", "refusals"],
    // Files at the top of attention/ that say what an attention is: see `paths`.
    "attention/site": ["refusals"],
    normalise: ["attention/site", "refusals"],
    "attention/operands": ["attention/site"],
    "attention/wiring": ["attention/operands", "attention/site", "normalise"],
    "attention/proof": ["attention/wiring", "attention/operands", "attention/site", "refusals"],
    "attention/rows": ["attention/site"],
    "attention/verdict": [
      "attention/rows",
      "attention/proof",
      "attention/wiring",
      "attention/operands",
      "attention/site",
      "refusals",
    ],
    attention: [
      "attention/verdict",
      "attention/rows",
      "attention/proof",
      "attention/wiring",
      "attention/operands",
      "attention/site",
      "refusals",
    ],
    positions: [],
    stateful: ["attention", "attention/site"],
    emit: [
      "stateful",
      "attention",
      "attention/verdict",
      "attention/rows",
      "attention/operands",
      "attention/site",
      "options.ts",
      "report.ts",
    ],
  },
  "onnx-tfjs": {
    "errors.ts": [],
    "value.ts": [],
    "operator-call.ts": ["errors.ts", "value.ts"],
    "packed.ts": ["value.ts"],
    operators: ["operator-call.ts", "packed.ts", "value.ts"],
    weights: ["errors.ts", "value.ts"],
    execution: ["weights", "operators", "operator-call.ts", "packed.ts", "errors.ts", "value.ts"],
  },
  tfjs: {
    "attention-inputs.ts": [],
    kernels: ["attention-inputs.ts"],
    ops: ["kernels", "attention-inputs.ts"],
    layers: ["ops", "attention-inputs.ts"],
    repairs: ["kernels"],
  },
  checkpoints: {
    "errors.ts": [],
    "progress.ts": [],
    "visible-text.ts": [],
    formats: [],
    builders: ["formats"],
    source: ["builders", "formats", "errors.ts", "progress.ts"],
    folder: ["source", "errors.ts", "progress.ts"],
  },
  measure: {
    numbers: [],
    data: [],
    tokens: ["data", "numbers"],
    inputs: [],
    runs: ["inputs", "tokens", "numbers"],
    judgement: ["runs", "tokens", "numbers"],
  },
  report: {
    record: [],
    "attention-cost.ts": ["record"],
    "crossing.ts": ["record"],
    "describe-evaluation.ts": [],
    "summary.ts": ["record", "attention-cost.ts", "describe-evaluation.ts"],
    pages: ["record", "summary.ts", "attention-cost.ts", "describe-evaluation.ts", "crossing.ts"],
  },
};

/** Layers whose files lie in a folder with others. */
const paths = {
  "rewriter/attention/site": "attention/(site|alibi|band|context|product|mask-origins|first-above)\\.ts$",
  "rewriter/attention": "attention/(?!(site|alibi|band|context|product|mask-origins|first-above)\\.ts$)[^/]+\\.ts$",
};

const escaped = (text) => text.replaceAll(".", "\\.");
const layerPath = (name, layer) =>
  `^packages/${name}/src/${paths[`${name}/${layer}`] ?? (layer.endsWith(".ts") ? `${escaped(layer)}$` : `${layer}/`)}`;

const betweenPackages = Object.entries(packages).map(([name, allowed]) => ({
  name: `${name} imports ${allowed.length === 0 ? "no other package" : `only ${allowed.join(", ")}`}`,
  severity: "error",
  from: { path: `^packages/${name}/src/` },
  to: { path: "^packages/", pathNot: `^packages/(${[name, ...allowed].join("|")})/` },
}));

const betweenLayers = Object.entries(layers).flatMap(([name, allowedOf]) => [
  ...Object.entries(allowedOf).map(([layer, allowed]) => ({
    name: `${name}/${layer} imports ${allowed.length === 0 ? "no other part of its package" : `only ${allowed.join(", ")}`}`,
    severity: "error",
    from: { path: layerPath(name, layer) },
    to: {
      path: `^packages/${name}/src/`,
      pathNot: [layer, ...allowed].map((other) => layerPath(name, other)),
    },
  })),
  {
    name: `every folder of ${name} has its place among the layers`,
    comment: "A new folder states in .dependency-cruiser.js what it imports.",
    severity: "error",
    from: {
      path: `^packages/${name}/src/[^/]+/`,
      pathNot: Object.keys(allowedOf).map((layer) => layerPath(name, layer)),
    },
    to: {},
  },
]);

/** Every workspace: its folder, and the names of the packages that its manifest lists. */
const readManifest = (folder) => JSON.parse(readFileSync(new URL(`${folder}/package.json`, import.meta.url), "utf8"));
const workspaces = ["packages", "tools", "examples"].flatMap((parent) =>
  readdirSync(new URL(parent, import.meta.url))
    .map((name) => `${parent}/${name}`)
    .filter((folder) => existsSync(new URL(`${folder}/package.json`, import.meta.url)))
    .map((folder) => ({ folder, manifest: readManifest(folder) })),
);
const folderOf = new Map(workspaces.map(({ folder, manifest }) => [manifest.name, folder]));
const listed = (...lists) =>
  lists.flatMap((list) => Object.keys(list ?? {})).flatMap((name) => folderOf.get(name) ?? []);
const shared = listed(readManifest(".").devDependencies);

const lists = (name, from, folders) => ({
  name,
  severity: "error",
  from,
  to: { path: "^(packages|tools|examples)/", pathNot: folders.map((other) => `^${other}/`) },
});

// knip checks third-party packages in this way, but not workspaces that JavaScript imports. What a private package lists
// under devDependencies is bundled into its programs.
const manifests = workspaces.flatMap(({ folder, manifest }) => {
  const own = [folder, ...listed(manifest.dependencies, manifest.peerDependencies, manifest.optionalDependencies)];
  const all = [...own, ...listed(manifest.devDependencies), ...shared];
  return [
    lists(
      `${folder}/package.json lists what its sources import`,
      { path: `^${folder}/src/` },
      manifest.private ? all : own,
    ),
    lists(`${folder}/package.json lists what it imports`, { path: `^${folder}/` }, all),
  ];
});

export default {
  forbidden: [
    { name: "no circles", severity: "error", from: {}, to: { circular: true } },
    { name: "imports lead somewhere", severity: "error", from: {}, to: { couldNotResolve: true } },
    ...betweenPackages,
    ...betweenLayers,
    ...manifests,
    {
      name: "packages never import tools or examples",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      to: { path: "^(tools|examples)/" },
    },
    {
      name: "every package says what it imports",
      comment: "A new package states in .dependency-cruiser.js what it imports.",
      severity: "error",
      from: { path: "^packages/", pathNot: `^packages/(${[...Object.keys(packages), "test-support"].join("|")})/` },
      to: {},
    },
    {
      name: "tools that are published import no other tool",
      severity: "error",
      from: { path: "^tools/(favor-[^/]+)/src/" },
      to: { path: "^(tools|examples)/", pathNot: "^tools/$1/" },
    },
    {
      name: "other packages are imported by name",
      comment: "Across the border of a package, a relative path goes behind its exports and its manifest.",
      severity: "error",
      from: { path: "^((?:packages|tools|examples)/[^/]+)/" },
      to: { path: "^(packages|tools|examples)/", pathNot: "^$1/", dependencyTypes: ["local"] },
    },
    {
      name: "sources import no test support",
      comment: "The conformance programs are tests themselves, and benchmarks run in the tests' browser.",
      severity: "error",
      from: {
        path: "^(packages|tools|examples)/[^/]+/src/",
        pathNot: "^(packages/test-support|tools/(conformance|bench))/",
      },
      to: { path: "^packages/test-support/" },
    },
    {
      name: "onnxruntime is loaded in one place",
      comment: "packages/measure/src/runs/onnxruntime.ts switches its telemetry off first; others import types alone.",
      severity: "error",
      from: { path: "^(packages|tools|examples)/[^/]+/src/", pathNot: "^packages/test-support/" },
      to: { path: "node_modules/onnxruntime-node/", dependencyTypesNot: ["type-only"] },
    },
    {
      name: "sources import no tests",
      severity: "error",
      from: { path: "^(packages|tools|examples)/[^/]+/src/" },
      to: { path: "^(packages|tools|examples)/[^/]+/test/" },
    },
  ],
  options: {
    doNotFollow: { path: ["node_modules"] },
    exclude: { path: ["(^|/)dist/"] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["@favor/source", "import", "node", "default", "types"],
      mainFields: ["module", "main", "types"],
    },
  },
};

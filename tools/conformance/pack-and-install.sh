#!/usr/bin/env bash
# Packs the packages as they would be published, installs them into an empty project and uses them as a stranger would:
# what is missing from `files` or `exports`, or only works inside the workspace, shows here. Needs a build.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for package in $(ls -d "$root"/packages/* | grep -v test-support) "$root"/tools/favor-{convert,tune}; do
  (cd "$package" && npm pack --silent --pack-destination "$scratch" > /dev/null)
done

cd "$scratch"
echo '{ "name": "stranger", "private": true, "type": "module" }' > package.json
# As the READMEs say: install scripts run, and onnxruntime-node's downloads nothing.
ONNXRUNTIME_NODE_INSTALL=skip npm install --silent --no-ignore-scripts --no-audit --no-fund --prefer-offline ./*.tgz

cat > use.mjs <<'JS'
import { createFeatureMap } from "@favor/core";
import { inspectAttention } from "@favor/rewriter";
import { openModel } from "@favor/onnx/node";

const map = createFeatureMap({ version: 1, kind: "positive", projection: { kind: "orthogonal", count: 8, dim: 4, seed: 0 } });
if (map.query(new Float64Array(4)).length !== 8) throw new Error("@favor/core: wrong number of features");
const { model, close } = await openModel(process.argv[2]);
const { sites } = inspectAttention(model);
close();
if (sites.length !== 4) throw new Error(`@favor/onnx: ${sites.length} sites instead of 4`);
JS
checkpoint=$root/examples/antibody/checkpoint
node use.mjs "$checkpoint/onnx/model.onnx"
npx --no-install favor-convert "$checkpoint" -o linear --count 32 --quiet > /dev/null
npx --no-install favor-convert verify "$checkpoint" linear > /dev/null
npx --no-install favor-tune linear -o tuned --data "$root/examples/antibody/data/calibration.fasta" --stage mlm --steps 1 --batch 2 --eval-count 2 --backend wasm --quiet > /dev/null
npx --no-install favor-convert inspect tuned > /dev/null
echo "packed, installed, used: $(ls ./*.tgz | wc -l) packages"

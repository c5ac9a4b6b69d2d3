// The page's script: posts the digests to the server that the test listens on.
import { kernelDigests, projectionDigests, workerDigest } from "./probe.ts";

const report = await Promise.all([projectionDigests(), kernelDigests(), workerDigest()]).then(
  ([projections, kernels, workers]) => ({ projections, kernels, workers }),
  (error: unknown) => ({ error: String(error) }),
);
await fetch("/report", { method: "POST", body: JSON.stringify(report) });

#!/usr/bin/env node
// Committed, not built: npm links a `bin` only if it exists when the workspace is installed.
await import("../dist/cli.js");

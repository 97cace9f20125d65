#!/usr/bin/env node
// Plain JavaScript that every Node understands: says in one line when Node is too old, then starts the program
// (src/ in a clone, dist/ in an installed package).
import { existsSync } from "node:fs"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 24 || (major === 24 && minor < 7)) {
  process.stderr.write(`fip needs Node 24.7 or newer; this is ${process.version}\n`)
  process.exit(1)
}
const source = new URL("../src/main.ts", import.meta.url)
await import(existsSync(source) ? source.href : new URL("../dist/src/main.js", import.meta.url).href)

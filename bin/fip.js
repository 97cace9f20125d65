#!/usr/bin/env node
// Plain JavaScript that every Node understands: says in one line when Node is too old, then starts the program
// (src/ in a clone, dist/program/ in an installed package).
import { existsSync, mkdirSync } from "node:fs"
import module from "node:module"
import { homedir } from "node:os"
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 24 || (major === 24 && minor < 7)) {
  process.stderr.write(`fip needs Node 24.7 or newer; this is ${process.version}\n`)
  process.exit(1)
}
// What dies young here are buffers, whose memory V8 does not count among its own: with a young generation that grows,
// a transfer of any size holds a hundred MiB of them that nobody needs.
setFlagsFromString("--semi-space-growth-factor=1")
// And it is small: threads that wait for their share of it cost more than collecting it on one, up to a second for a GiB.
setFlagsFromString("--no-parallel-scavenge")
// Half of a short command's time goes into compiling modules that were the same the last time. The cache is the user's
// own: whoever could write to it would run as them.
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fip", "compiled")
try {
  mkdirSync(cache, { recursive: true, mode: 0o700 })
} catch {
  // Nowhere to keep it: then nothing is kept.
}
module.enableCompileCache(cache)
// For the threads and processes that are started from this one.
process.env.NODE_COMPILE_CACHE ??= cache
const source = new URL("../src/main.ts", import.meta.url)
await import(existsSync(source) ? source.href : new URL("../dist/program/main.js", import.meta.url).href)

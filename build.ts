/**
 * `npm run build`: what an installed package runs, in dist/. The library for other programs stays as tsc makes it, module
 * by module. The program is in a few files: loading some hundred modules one by one is half of what a short command costs.
 */
import { spawnSync } from "node:child_process"
import { rm } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { rolldown } from "rolldown"

// What an earlier build left would be packed with the rest.
await rm("dist", { recursive: true, force: true })

const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc")
const { status } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], { stdio: "inherit" })
if (status !== 0) process.exit(status ?? 1)

const bundle = await rolldown({
  input: {
    main: "src/main.ts",
    // Found by their names, in the folder of who starts them.
    engineThread: "src/server/database/engineThread.ts",
    initdb: "src/server/database/initdb.ts",
    serveWorker: "src/cli/serveWorker.ts"
  },
  platform: "node",
  // These look for their own files, or change what is global.
  external: [/^@electric-sql\/pglite/, /^@peculiar\/x509/, /^reflect-metadata/]
})
await bundle.write({ dir: "dist/program", format: "esm" })

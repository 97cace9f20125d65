/**
 * `npm run build`, second half: the program of an installed package, in a few files. Loading some hundred modules one by
 * one is half of what a short command costs. The library for other programs stays as tsc made it, module by module.
 */
import { rolldown } from "rolldown"

const bundle = await rolldown({
  input: {
    main: "src/main.ts",
    // Found by their names, in the folder of who starts them.
    engineThread: "src/server/database/engineThread.ts",
    initdb: "src/server/database/initdb.ts"
  },
  platform: "node",
  // These look for their own files, or change what is global.
  external: [/^@electric-sql\/pglite/, /^@peculiar\/x509/, /^reflect-metadata/]
})
await bundle.write({ dir: "dist/program", format: "esm" })

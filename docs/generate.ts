/** `npm run docs`: writes the pages that are made from the program. A test fails when one of them is not current. */
import { Effect } from "effect"
import { mkdir, readFile, rm, writeFile } from "node:fs/promises"
import { manPage } from "../src/cli/manPage.ts"
import { commandsMarkdown } from "../src/cli/shell/commandsMarkdown.ts"
import { apiMarkdown } from "./apiMarkdown.ts"
import { docBlocks } from "./docBlocks.ts"
import { withFigures } from "./readmeFigures.ts"

const write = async (path: string, page: Effect.Effect<string>): Promise<void> =>
  writeFile(new URL(path, import.meta.url), await Effect.runPromise(page))

await write("commands.md", commandsMarkdown())
await write("../packaging/fip.1", manPage())
await writeFile(new URL("api.md", import.meta.url), await apiMarkdown())

const readme = new URL("../README.md", import.meta.url)
const benchmarks = await readFile(new URL("benchmarks.md", import.meta.url), "utf8")
await writeFile(readme, withFigures(await readFile(readme, "utf8"), benchmarks))

const folder = new URL("../test/fixtures/blocks/", import.meta.url)
await rm(folder, { recursive: true, force: true })
await mkdir(folder)
for (const [name, code] of docBlocks()) await writeFile(new URL(name, folder), code)

/**
 * Code in the pages and in the comments of the library's entries, as files that are type-checked with everything else.
 * `npm run docs` writes them to test/fixtures/blocks/; a test compares.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

const pages = (): ReadonlyArray<string> => [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md") && name !== "api.md").map((name) =>
    `docs/${name}`
  ),
  ...readdirSync(join(root, "src")).filter((name) => name.endsWith(".ts")).map((name) => `src/${name}`)
]

/** File names, and what is in them. */
export const docBlocks = (): ReadonlyMap<string, string> => {
  const blocks = new Map<string, string>()
  for (const page of pages().toSorted()) {
    const text = readFileSync(join(root, page), "utf8")
    const plain = page.endsWith(".ts") ? text.replaceAll(/^ \* ?/gm, "") : text
    let number = 0
    for (const [, code = ""] of plain.matchAll(/^```ts\n([^]*?)^```$/gm)) {
      number += 1
      const name = page.replaceAll("/", "-").replace(/\.\w+$/, "")
      blocks.set(`${name}-${number}.ts`, `// From ${page}; written by \`npm run docs\`.\n${code}`)
    }
  }
  return blocks
}

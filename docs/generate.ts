/** `npm run docs`: writes the pages that are made from the program. A test fails when one of them is not current. */
import { Effect } from "effect"
import { writeFile } from "node:fs/promises"
import { commandsMarkdown } from "../src/cli/shell/commandsMarkdown.ts"

await writeFile(new URL("commands.md", import.meta.url), await Effect.runPromise(commandsMarkdown()))

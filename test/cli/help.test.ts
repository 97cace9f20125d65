import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { readFile } from "node:fs/promises"
import path from "node:path"
import { commandsMarkdown } from "../../src/cli/shell/commandsMarkdown.ts"
import { commandTree } from "../../src/cli/shell/commandTree.ts"
import { commandHelps, overview } from "../../src/cli/shell/help.ts"
import { runLines } from "../support/ShellHarness.ts"

/** Every command, as docs/commands.md has it. */
const NAMES = Array.from(
  readFileSync(path.join(import.meta.dirname, "../../docs/commands.md"), "utf8").matchAll(/^### ([A-Z ]+)$/gm),
  ([, name = ""]) => name
)

describe("HELP", () => {
  it.effect("lists every command under its group", () =>
    Effect.gen(function*() {
      const { stdout } = yield* runLines(["help"])
      assert.includeMembers(NAMES, ["UNEW", "CREATE", "GRANT", "QUERY STORAGE"])
      for (const name of NAMES) assert.match(stdout, new RegExp(`^  ${name} +[A-Z]`, "m"))
      assert.deepStrictEqual(stdout.match(/^[a-z]+$/gm), [
        "session",
        "account",
        "shell",
        "files",
        "transfer",
        "sharing",
        "queries"
      ])
    }))

  it.effect("tells all about one command: usage, arguments, flags, examples", () =>
    Effect.gen(function*() {
      const { stdout } = yield* runLines(["HELP grant"])
      assert.include(stdout, "GRANT <user> <file> <role> [--duration time]\n")
      assert.match(stdout, /^ {2}role +READ, EDIT or MANAGE/m)
      assert.match(stdout, /^ {2}--duration time +for how long/m)
      assert.match(stdout, /^ {2}-bye +leave afterwards/m)
      assert.include(stdout, "  GRANT bob_jones notes.txt READ\n")
    }))

  it.effect("is what --help after a command shows, and ? is short for it", () =>
    Effect.gen(function*() {
      const help = yield* runLines(["HELP QUERY FILE"])
      assert.strictEqual((yield* runLines(["query file --HELP"])).stdout, help.stdout)
      assert.strictEqual((yield* runLines(["? query file"])).stdout, help.stdout)
    }))

  it.effect("of a family tells about its members", () =>
    Effect.gen(function*() {
      const { stdout } = yield* runLines(["HELP query"])
      assert.include(stdout, "QUERY STORAGE [--verbose]\n")
      assert.include(stdout, "QUERY VERSIONS <file> [owner] [--verbose]\n")
    }))

  it.effect("has examples that the shell takes", () =>
    Effect.gen(function*() {
      const before = process.cwd()
      for (const { examples, name } of yield* commandHelps(commandTree)) {
        assert.isNotEmpty(examples)
        for (const { command } of examples) {
          // Passwords are asked for, local files are not there, and the folder's files are elsewhere.
          const run = yield* runLines([command])
          process.chdir(before)
          if (run.status !== 0) {
            assert.match(
              run.stderr,
              /nobody is there to ask|no such file|a name that is not safe|no alias|no job|nothing above/,
              command
            )
          }
          assert.isTrue(command.startsWith(name.split(" ")[0] ?? ""), command)
        }
      }
    }))
})

describe("docs/commands.md", () => {
  it.effect("says what the definitions say (npm run docs)", () =>
    Effect.gen(function*() {
      const stored = yield* Effect.promise(() =>
        readFile(path.join(import.meta.dirname, "../../docs/commands.md"), "utf8")
      )
      assert.strictEqual(stored, yield* commandsMarkdown())
    }))

  it.effect("has every command with its result", () =>
    Effect.gen(function*() {
      const page = yield* commandsMarkdown()
      for (const name of NAMES) assert.include(page, `\n### ${name}\n`)
      assert.strictEqual(page.match(/^`result`: /gm)?.length, NAMES.length)
    }))
})

const plain = (text: string) => text.replaceAll(/\s+/g, " ")

describe("HELP at a terminal", () => {
  it.effect("fits it, every command under its group", () =>
    Effect.gen(function*() {
      const helps = yield* commandHelps(commandTree)
      const lines = overview(helps, 80).split("\n")
      for (const line of lines.slice(0, -1)) assert.isAtMost(line.length, 80, line)
      for (const name of NAMES) assert.isTrue(lines.some((line) => line.startsWith(`  ${name} `)), name)
      assert.strictEqual(plain(lines.join(" ")), plain(overview(helps)))
    }))
})

/** What README.md, CONTRIBUTING.md and docs/ say of the program is so: links, paths, settings, layers, functions and messages. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Option } from "effect"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { apiMarkdown } from "../docs/apiMarkdown.ts"
import { docBlocks } from "../docs/docBlocks.ts"
import { withFigures } from "../docs/readmeFigures.ts"
import { manPage } from "../src/cli/manPage.ts"
import { resolveSettings } from "../src/cli/serverSettings.ts"
import { defaults, RELOADABLE } from "../src/server/ServerConfig.ts"
import { runLines } from "./support/ShellHarness.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const filesIn = (folder: string, ending: string): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(ending))
    .map((path) => `${folder}/${path}`)

const pages = ["README.md", "CONTRIBUTING.md", ...filesIn("docs", ".md")].map((path) => ({ path, text: read(path) }))
const operations = read("docs/operations.md")
const architecture = read("docs/architecture.md")

/** The section of a page under a heading, up to the next heading of its level or above. */
const section = (page: string, heading: string): string => {
  const level = /^#+/.exec(heading)?.[0].length ?? 1
  const [, rest] = page.split(`\n${heading}\n`)
  if (rest === undefined) return assert.fail(`no heading ${heading}`)
  return rest.split(new RegExp(`^#{1,${level}} `, "m"))[0] ?? ""
}

/** The rows of the tables in a text, without their heads. */
const rows = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  text.split("\n\n").flatMap((paragraph) =>
    paragraph.split("\n").filter((line) => line.startsWith("|")).slice(2)
      .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()))
  )

const block = (text: string, language: string): string =>
  new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "s").exec(text)?.[1] ?? assert.fail(`no block of ${language}`)

const anchorsOf = (page: string): ReadonlyArray<string> =>
  Array.from(
    page.matchAll(/^#+ (.*)$/gm),
    ([, title = ""]) => `#${title.toLowerCase().replaceAll(/[^\w -]/g, "").replaceAll(" ", "-")}`
  )

const snake = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** The settings of a server that is given such a config file. */
const resolveText = (text: string) =>
  Effect.acquireUseRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "fip-docs-"))),
    (folder) =>
      Effect.gen(function*() {
        const file = join(folder, "config.toml")
        yield* Effect.promise(() => writeFile(file, text))
        return (yield* resolveSettings({}, Option.some(file))).server
      }),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )

/** Durations as numbers, to be compared. */
const plain = (settings: object) =>
  Object.fromEntries(
    Object.entries(settings).map(([key, value]: [string, unknown]) => [
      key,
      Duration.isDuration(value) ? Duration.toMillis(value) : value
    ])
  )

describe("every page", () => {
  it("links to what exists", () => {
    const links = pages.flatMap(({ path, text }) =>
      Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target = ""]) => ({ path, target }))
    ).filter(({ target }) => !/^[a-z]+:/.test(target))
    assert.isAbove(links.length, 50)
    const broken = links.filter(({ path, target }) => {
      const [file = "", anchor] = target.split("#")
      const linked = file === "" ? path : join(dirname(path), file)
      if (!existsSync(join(root, linked))) return true
      return anchor !== undefined && !anchorsOf(read(linked)).includes(`#${anchor}`)
    })
    assert.deepStrictEqual(broken, [])
  })

  it("names only paths of this repository that exist", () => {
    const named = pages.flatMap(({ path, text }) =>
      Array.from(
        text.matchAll(/(?<![\w/.~-])(?:src|test|migrations|examples|bench)\/[\w./-]*\w/g),
        ([name]) => ({ path, name })
      )
    )
    assert.isAbove(named.length, 50)
    assert.deepStrictEqual(named.filter(({ name }) => !existsSync(join(root, name))), [])
  })
})

describe("code in pages", () => {
  it("in TypeScript is what is type-checked (npm run docs writes it)", () => {
    const folder = "test/fixtures/blocks"
    assert.deepStrictEqual(readdirSync(join(root, folder)).toSorted(), [...docBlocks().keys()].toSorted())
    for (const [name, code] of docBlocks()) assert.strictEqual(read(`${folder}/${name}`), code, name)
  })

  it("for a terminal has only commands, flags and scripts that there are", () => {
    const source = filesIn("src/cli", ".ts").map(read).join("\n")
    const flags = new Set(
      Array.from(source.matchAll(/(?:Flag\.[A-Z]\w+|withAlias)\("([\w-]+)"/g), ([, flag]) => flag).concat(
        "help",
        "version"
      )
    )
    const commands = new Set(Array.from(source.matchAll(/Command\.make\(\s*"([\w-]+)"/g), ([, command]) => command))
    const scripts = Object.keys(JSON.parse(read("package.json")).scripts)
    let seen = 0
    for (const { path, text } of pages) {
      for (const [, code = ""] of text.matchAll(/^```sh\n([^]*?)^```$/gm)) {
        for (const line of code.replaceAll("\\\n", " ").split("\n")) {
          const [, script] = /\bnpm run ([\w-]+)/.exec(line) ?? []
          if (script !== undefined) assert.include(scripts, script, `${path}: ${line}`)
          const [, words = ""] = /(?:^|\s|[|;&(] *)(?:npx )?fip ((?:[a-z]|--)[^|;&#]*)/.exec(line) ?? []
          if (words === "" || words.startsWith("fip ")) continue
          seen += 1
          const [command = ""] = words.split(/\s+/)
          if (!command.startsWith("--")) assert.isTrue(commands.has(command), `${path}: ${line}`)
          for (const [, flag = ""] of words.split(" -- ")[0]?.matchAll(/\s--([\w-]+)/g) ?? []) {
            assert.isTrue(flags.has(flag), `${path}: --${flag} in ${line}`)
          }
        }
      }
    }
    assert.isAbove(seen, 10)
  })

  it("in JSON is JSON", () => {
    for (const { path, text } of pages) {
      for (const [, code = ""] of text.matchAll(/^```json\n([^]*?)^```$/gm)) {
        for (const line of code.trim().split("\n")) assert.doesNotThrow(() => JSON.parse(line), undefined, path)
      }
    }
  })

  it("of the shell has only commands that it takes", async () => {
    const lines = pages.flatMap(({ path, text }) =>
      Array.from(
        text.matchAll(/^(?:\w+@)?[\w.]+:\d+(?:\/\S*)?> (.*)\n(Password:)?/gm),
        ([, line = "", asks]) => ({ path, line: asks === undefined ? line : `${line} secret-password` })
      )
    )
    assert.isAbove(lines.length, 15)
    for (const { line, path } of lines) {
      const { status, stderr } = await Effect.runPromise(runLines([line]))
      assert.strictEqual(status, 0, `${path}: ${line}: ${stderr}`)
    }
  })
})

describe("README.md", () => {
  it("gives the figures of docs/benchmarks.md (npm run docs writes them)", () => {
    const [readme, benchmarks] = [read("README.md"), read("docs/benchmarks.md")]
    assert.strictEqual(readme, withFigures(readme, benchmarks))
    const other = benchmarks.replaceAll(/\d+\.\d\d s/g, "9.99 s")
    assert.include(withFigures(readme, other), "| 9.99 s | 9.99 s |")
    assert.throws(() => withFigures(readme, "# none"), /no such part/)
  })
})

describe("docs/api.md", () => {
  it("is what the library declares (npm run docs writes it)", { timeout: 120_000 }, async () => {
    assert.isTrue(read("docs/api.md") === await apiMarkdown(), "run npm run docs")
  })
})

describe("docs/operations.md", () => {
  const table = new Map(
    rows(section(operations, "## Settings")).map(([key = "", environment, flag, value = ""]) => [
      key.replaceAll("`", ""),
      { environment, flag: flag?.replaceAll("`", ""), value: value === "–" ? undefined : value.replaceAll("`", "") }
    ])
  )

  it("has every setting, with its variable and its flag, and no other", () => {
    const flags = new Set(
      Array.from(
        read("src/cli/serve.ts").matchAll(/(?:Flag|Argument)\.[A-Z]\w+\("([\w-]+)"\)/g),
        ([, name = ""]) => name
      )
    )
    for (const name of ["config", "print-config", "json"]) flags.delete(name)
    const keys = [...Object.keys(defaults).map(snake), "data_dir", "log_level", "log_format"]
    assert.sameMembers([...table.keys()], keys)
    for (const [key, { environment, flag }] of table) {
      assert.strictEqual(environment, `\`FIP_${key.toUpperCase()}\``)
      const name = key.replaceAll("_", "-")
      assert.strictEqual(flag, !flags.has(name) ? "" : name === "port" ? "[port]" : `--${name}`, key)
      flags.delete(name)
    }
    assert.deepStrictEqual([...flags], [])
  })

  it("marks those that SIGHUP changes", () => {
    const marked = rows(section(operations, "## Settings")).filter(([, , , , meaning = ""]) => meaning.endsWith("↻"))
    assert.sameMembers(
      marked.map(([key = ""]) => key.replaceAll("`", "")),
      [...RELOADABLE.map(snake), "log_level"]
    )
  })

  it.effect("gives the default of each, as it would be written in a config file", () =>
    Effect.gen(function*() {
      const lines = [...table].flatMap(([key, { value }]) =>
        value === undefined || key === "data_dir" ? [] : `${key} = ${/^\d+$/.test(value) ? value : `"${value}"`}`
      )
      const { dataDir: _, ...resolved } = yield* resolveText(lines.join("\n"))
      assert.deepStrictEqual(plain(resolved), plain(defaults))
      const absent = [...table].filter(([, { value }]) => value === undefined).map(([key]) => key)
      assert.deepStrictEqual(
        absent,
        Object.entries(defaults).flatMap(([key, value]) => value === undefined ? [snake(key)] : [])
      )
    }))

  it.effect("shows a config file that is one", () =>
    Effect.map(resolveText(block(operations, "toml")), ({ bytesPerUser, dataDir, maxConnections }) => {
      assert.deepStrictEqual([bytesPerUser, dataDir, maxConnections], [50 * 1024 ** 3, "/srv/fip", 2000])
    }))

  it("explains messages that the program has", () => {
    // A literal may be put together from several, and the name of the protocol is a constant.
    const source = [...filesIn("src", ".ts"), "bin/fip.js"].map(read).join("\n")
      .replaceAll(/["`]\s*\+\s*["`]/g, "").replaceAll("${ALPN}", "fip/1")
    const messages = rows(section(operations, "## Troubleshooting")).flatMap(([cell = ""]) =>
      Array.from(cell.matchAll(/`([^`]+)`/g), ([, message = ""]) => message)
    ).filter((text) => !/^\d:/.test(text))
    assert.isAbove(messages.length, 40)
    for (const message of messages) {
      // What a message is put together from is not in one place: its sentences are.
      for (const part of message.split(/…|: /).filter((part) => part.length > 6)) {
        assert.include(source, part.trim(), message)
      }
    }
  })
})

describe("packaging/fip.1", () => {
  it.effect("is what npm run docs makes of the commands", () =>
    Effect.map(manPage(), (page) => assert.strictEqual(read("packaging/fip.1"), page)))
})

describe("docs/architecture.md", () => {
  it("draws the layers as Server.ts provides them", () => {
    const [, wiring = ""] = read("src/server/Server.ts").split("static readonly layer = Layer.effect(")
    const stages = wiring.split(/^ {4}Layer\.provide\(/m).slice(1)
      .filter((stage) => !stage.startsWith("ShutdownCoordinator.phase("))
      .flatMap((stage) => Array.from(new Set(stage.match(/\b[A-Z]\w+(?=\.layer\b)|\b\w+Layer\b/g))))
    const drawn = block(section(architecture, "## The layers of the server"), "text").split("\n")
      .flatMap((line) => /^ *((?:\w+)(?: · \w+)*)(?: {2}|$)/.exec(line)?.[1]?.split(" · ") ?? [])
    assert.deepStrictEqual(drawn, ["Server", ...stages, "ServerConfig"])
  })

  it("names functions that are in the files it names", () => {
    const named = Array.from(
      architecture.matchAll(/`((?:src|migrations)\/[\w./-]+\.ts)` \(((?:`[\w.]+`(?:, )?)+)\)/g),
      ([, file = "", names = ""]) => ({ file, names: names.match(/\w+(?=`)/g) ?? [] })
    )
    assert.isAbove(named.length, 30)
    for (const { file, names } of named) {
      const source = read(file)
      for (const name of names) assert.match(source, new RegExp(`\\b${name}\\b`), `${file}: ${name}`)
    }
  })

  it("has every folder of the program", () => {
    const listed = rows(section(architecture, "## The folders")).map(([folder = ""]) => folder.replaceAll("`", ""))
    const folders = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => `${join(entry.parentPath, entry.name).slice(root.length)}/`)
    assert.includeMembers(listed, folders)
  })
})

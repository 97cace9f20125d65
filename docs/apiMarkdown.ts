/**
 * docs/api.md, made from what the compiler says of the library: for each entry of the package what it exports, with the
 * comments of the sources. Declarations are cut out of the emitted `.d.ts` files, where each begins at a line's beginning.
 */
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { clientMethodOf, requestNames, Requests } from "../src/protocol/Request.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

const ENTRIES = [
  { name: "fip", file: "src/index" },
  { name: "fip/promise", file: "src/promise" },
  { name: "fip/testing", file: "src/testing" }
] as const

interface Declaration {
  readonly comment: string
  readonly code: string
}

/** A comment without its stars. */
const proseOf = (comment: string): string =>
  comment.replace(/^\/\*\*/, "").replace(/\*\/$/, "").split("\n").map((line) => line.replace(/^ \* ?/, "").trimEnd())
    .join("\n").trim().replaceAll(/\{@link (\w+)\}/g, "`$1`")

/** The comment at a file's beginning, which is about the module. */
const moduleProse = (source: string): string => proseOf(/^\/\*\*[^]*?\*\//.exec(source)?.[0] ?? "")

/** Names that a module gives on, and where from. */
const passedOn = (source: string): ReadonlyArray<readonly [name: string, from: string]> =>
  Array.from(source.matchAll(/^export (?:type )?\{([^}]*)\} from "(.*?)"/gm)).flatMap(([, names = "", from = ""]) =>
    names.split(",").map((name) => name.replace(/\btype\b/, "").trim()).filter((name) => name !== "")
      .map((name) => [name, from] as const)
  )

/** Names that a module declares itself, in their order. */
const declared = (source: string): ReadonlyArray<string> =>
  Array.from(
    source.matchAll(/^export (?:declare )?(?:const|class|interface|type|function) (\w+)/gm),
    ([, name = ""]) => name
  )

class Declarations {
  private readonly folder: string
  private readonly sources = new Map<string, string>()

  constructor(folder: string) {
    this.folder = folder
  }

  source(file: string): string {
    const source = this.sources.get(file) ?? readFileSync(join(this.folder, `${file}.d.ts`), "utf8")
    this.sources.set(file, source)
    return source
  }

  /** Every declaration of a name: a schema and the type of its values have one. */
  of(file: string, name: string): ReadonlyArray<Declaration> {
    const source = this.source(file)
    const own = source.matchAll(
      new RegExp(
        `((?:^/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?)^export ((?:declare )?(?:const|class|interface|type|function) ${name}\\b[^]*?)(?=^[^\\s}\\])]|(?![^]))`,
        "gm"
      )
    )
    const found = Array.from(
      own,
      ([, comment = "", code = ""]) => ({ comment: proseOf(comment.trim()), code: code.trim() })
    )
    if (found.length > 0) return found
    const from = passedOn(source).find(([other]) => other === name)?.[1]
    const whole = Array.from(source.matchAll(/^export \* from "(.*?)"/gm), ([, from = ""]) => from)
    return (from === undefined ? whole : [from])
      .flatMap((from) => this.of(join(dirname(file), from.replace(/\.[jt]s$/, "")), name))
  }
}

const shown = (code: string): string =>
  code.replace(/^declare /, "").replace(/ extends \w+_base</, " extends TaggedError<").replace(
    / extends \w+_base\b/,
    ""
  )

const section = (name: string, found: ReadonlyArray<Declaration>): string =>
  [
    `### ${name}`,
    ...found.map(({ comment }) => comment).filter((comment) => comment !== ""),
    `\`\`\`typescript\n${found.map(({ code }) => shown(code)).join("\n\n")}\n\`\`\``
  ].join("\n\n")

export const apiMarkdown = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "fip-docs-"))
  try {
    await promisify(execFile)(
      join(root, "node_modules/.bin/tsc"),
      ["-p", join(root, "docs/tsconfig.json"), "--outDir", folder]
    )
    const declarations = new Declarations(folder)
    const known = new Set<string>()
    const pages = ENTRIES.map(({ file, name }) => {
      const source = readFileSync(join(root, `${file}.ts`), "utf8")
      const all = [...new Set([...passedOn(source).map(([name]) => name), ...declared(source)])]
      const names = all.filter((name) => !known.has(name))
      const again = all.filter((name) => known.has(name)).map((name) => `[${name}](#${name.toLowerCase()})`)
      for (const name of names) known.add(name)
      const sections = names.flatMap((name) => {
        const found = declarations.of(file, name)
        if (found.length === 0) throw new Error(`${file} exports ${name}, which is nowhere declared`)
        // What an interface is made of is part of it, also where it has no name outside.
        const parts = found.flatMap(({ code }) =>
          Array.from(/^interface \w+ extends ([^{]+) \{/.exec(code)?.[1]?.split(", ") ?? [])
        ).filter((part) => METHODS.has(part))
        const partly = parts.map((part) =>
          part === "RequestMethods"
            ? requestMethods(declarations)
            : section(part, declarations.of(METHODS.get(part) ?? "", part))
        )
        return [section(name, found)].concat(partly)
      })
      const more = again.length === 0 ? [] : [`As in \`fip\`: ${again.join(", ")}.`]
      return [`## ${name}`, moduleProse(source), ...more, ...sections].join("\n\n")
    })
    return `${[HEAD, ...pages].join("\n\n")}\n`
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What a client's interfaces are made of, and where that is declared. */
const METHODS = new Map([
  ["RequestMethods", "src/client/methods/requests"],
  ["AccountMethods", "src/client/methods/account"],
  ["FileMethods", "src/client/methods/files"],
  ["QueryMethods", "src/client/methods/queries"],
  ["SharingMethods", "src/client/methods/sharing"],
  ["TransferMethods", "src/client/methods/transfers"],
  ["OwnMethods", "src/client/Promised"]
])

const camel = (key: string): string => key.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())

/** Methods that are made from the table of requests: what each takes, and what the request says that it gives. */
const requestMethods = (declarations: Declarations): string => {
  const tables = ["info", "auth", "file", "permission"].map((category) =>
    declarations.source(`src/protocol/requests/${category}`)
  ).join("\n")
  const rows = requestNames.flatMap((request) => {
    const method = clientMethodOf(request)
    if (method === undefined) return []
    const { about, name } = method
    const options = Requests[request].fields.filter((field) =>
      about === undefined || (field !== "owner" && field !== "name")
    ).map(camel)
    const args = [
      ...(about === undefined ? [] : [about === "file" ? "file: FileInput" : "file: ShareableInput"]),
      ...(options.length === 0 ? [] : [`{ ${options.join(", ")} }`])
    ]
    const [, comment = ""] = new RegExp(`((?:/\\*\\*(?:(?!\\*/)[^])*\\*/)?)\\s*readonly ${request}: `).exec(tables) ??
      []
    const called = args.length === 0 ? name : `${name}(${args.join(", ")})`
    return [`| \`${called}\` | [${request}](protocol.md#${request.toLowerCase()}) | ${proseOf(comment)} |`]
  })
  return [
    "### RequestMethods",
    "Each is one request and nothing else: its answer is the request's result, and it fails with `RequestError`. What takes nothing is an Effect (with promises, a function). Options may be left out where the request says so.",
    ["| method | request | |", "| --- | --- | --- |", ...rows].join("\n")
  ].join("\n\n")
}

const HEAD = `# The library

<!-- Made by \`npm run docs\` from the sources. -->

What the package gives to programs: \`fip\` to those that use Effect, \`fip/promise\` to the others, \`fip/testing\` to the tests of both. How they are used is shown by the programs in [examples/](../examples), each of which is run by a test.

**Contents**: ${
  ENTRIES.map(({ name }) => `[${name}](#${name.replace("/", "")})`).join(" · ")
} · what the codes of a refusal mean: [protocol.md](protocol.md#5-codes-and-refusals)

## Failures

Each is an \`Error\` with a \`_tag\`, and its \`message\` is a sentence for a person. Effect programs branch by \`Effect.catchTag\`, others by \`instanceof\`.

| \`_tag\` | when | what a program can do |
| --- | --- | --- |
| \`Refusal\` | the server said no; \`code\` says why, and \`retry_after_ms\`, \`current_version\`, \`locked_by\`, \`field\` say more where there is more | by the code: \`2:nf\` not there, or not to be seen; \`2:perm\` the role is missing; \`2:vcf\` read the current version and decide again; \`2:rlex\` come back after the pause; \`2:quota\` and \`2:fof\` make room; \`3:…\` the server's fault, try later |
| \`NotLoggedIn\` | there is no session | \`login\` |
| \`ConnectError\` | no connection could be made | try later (\`retry\`) |
| \`ConnectionLost\` | the connection ended under a request that is not safe to send twice | look what became of it, then decide |
| \`TrustError\` | the server is not the one that was pinned; nothing secret was sent | ask a person |
| \`ProtocolError\` | the server does not speak the protocol | report it |
| \`IntegrityError\` | content did not arrive as it was sent; nothing was published | try again |
| \`LocalFileError\` | something on this machine, named by \`path\` | mend it |`

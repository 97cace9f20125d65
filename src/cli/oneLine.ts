/**
 * One-line forms of the shell's commands, in the manner of scp: `fip cp report.pdf host:docs/`, `fip ls work:`.
 *
 * They are a spelling and nothing more. Operands become lines of the shell, and whatever else a form can do is a flag of
 * the command that it stands for, taken from that command's own definition and handed on as it was given.
 */
import { Effect, Predicate } from "effect"
import { Argument, Command, type Command as Cli, Completions, Flag } from "effect/cli"
import { FipClient } from "../client/FipClient.ts"
import { copyBetween } from "./betweenServers.ts"
import { accessFlags, ending, keepGoingFlag, runOnServer } from "./onServer.ts"
import { findServer, parseRemoteName, type RemoteName, type Server, type ServerName } from "./ServerName.ts"
import { commandTree } from "./shell/commandTree.ts"
import { UsageError } from "./shell/Failure.ts"
import { childrenOf } from "./shell/helpDoc.ts"
import type { Word } from "./shell/Tokenizer.ts"

/** What stands on the command line: a path of this machine, or one on a server. */
type Operand = { readonly local: string } | RemoteName

/** A command of the shell, perhaps with flags, and what it is for. */
type Line = readonly [command: string, ...operands: ReadonlyArray<string>]

type Lines = Effect.Effect<ReadonlyArray<Line>, UsageError>

interface Form {
  readonly name: string
  readonly summary: string
  /** The shell's commands that it may stand for: their flags are its own. */
  readonly commands: ReadonlyArray<string>
  /** Flags of theirs that it sets by itself. */
  readonly sets?: ReadonlyArray<string>
  readonly operands: string
  readonly examples: ReadonlyArray<Cli.Command.Example>
  readonly lines: (operands: ReadonlyArray<Operand>) => Lines
  /** What it comes to when the last operand stands on another server than the others do. */
  readonly across?: (paths: ReadonlyArray<string>) => Line
}

const isRemote = (operand: Operand): operand is RemoteName => "path" in operand

const pathOf = (operand: Operand): string => isRemote(operand) ? operand.path : operand.local

const usage = (message: string): Effect.Effect<never, UsageError> => Effect.fail(new UsageError({ message }))

/** Every operand must stand on a server. */
const remotes = (operands: ReadonlyArray<Operand>): Effect.Effect<ReadonlyArray<string>, UsageError> => {
  const paths: Array<string> = []
  for (const operand of operands) {
    if (!isRemote(operand)) {
      return usage(`"${operand.local}" is a path of this machine: a file on a server is host:${operand.local}`)
    }
    paths.push(operand.path)
  }
  return Effect.succeed(paths)
}

const locals = (operands: ReadonlyArray<Operand>): Effect.Effect<ReadonlyArray<string>, UsageError> => {
  const paths: Array<string> = []
  for (const operand of operands) {
    if (isRemote(operand)) return usage(`"${operand.path}" stands on a server: a path of this machine is meant there`)
    paths.push(operand.local)
  }
  return Effect.succeed(paths)
}

/** One line for each file. */
const each = (command: string) => (operands: ReadonlyArray<Operand>): Lines =>
  Effect.map(remotes(operands), (paths) => paths.map((path) => [command, path] as const))

const lastPart = (path: string): string => path.split("/").findLast((part) => part !== "") ?? ""

/** A name in a folder: `docs/` and `a/b.txt` are `docs/b.txt`. */
const inFolder = (folder: string, path: string): string => `${folder === "/" ? "" : folder}${lastPart(path)}`

const isFolder = (path: string): boolean => path.endsWith("/")

const upload = Effect.fnUntraced(function*(sources: ReadonlyArray<Operand>, target: string) {
  const paths = yield* locals(sources)
  if (paths.includes("-") && (target === "/" || isFolder(target))) {
    return yield* usage("what comes from standard input needs a name: fip put - host:name")
  }
  if (paths.length > 1 && !isFolder(target)) {
    return yield* usage(`several files go into a folder: "${target}" does not end with /`)
  }
  if (paths.includes("-") && paths.length > 1) return yield* usage("standard input goes alone: fip put - host:name")
  // Into everything of one's own it goes under its own name.
  const line: Line = target === "/" && paths.length === 1 ? ["UPLOAD", ...paths] : ["UPLOAD", ...paths, target]
  return [line]
})

const download = Effect.fnUntraced(function*(sources: ReadonlyArray<Operand>, target: string | undefined) {
  const paths = yield* remotes(sources)
  const into = target ?? (paths.length > 1 ? "." : undefined)
  const line: Line = ["DOWNLOAD", ...paths, ...(into === undefined ? [] : [into])]
  return paths.length === 0 ? [] : [line]
})

/** COPY and RENAME take a file and its new name. */
const within = (command: string) =>
  Effect.fnUntraced(function*(sources: ReadonlyArray<Operand>, target: string) {
    const paths = yield* remotes(sources)
    const folder = isFolder(target)
    if (paths.length > 1 && !folder) {
      return yield* usage(`several files go into a folder: "${target}" does not end with /`)
    }
    return paths.map((path): Line => [command, path, folder ? inFolder(target, path) : target])
  })

/** Tells what it is from to what it goes. */
const splitLast = (
  operands: ReadonlyArray<Operand>
): Effect.Effect<readonly [sources: ReadonlyArray<Operand>, target: Operand], UsageError> => {
  const target = operands.at(-1)
  return operands.length < 2 || target === undefined
    ? usage("say from where to where: the last word is where it goes")
    : Effect.succeed([operands.slice(0, -1), target])
}

const FORMS: ReadonlyArray<Form> = [
  {
    name: "ls",
    summary: "List files and folders on a server",
    commands: ["LIST"],
    operands: "[host:folder/ …]",
    examples: [{ command: "fip ls -l work:docs/" }, { command: "fip ls", description: "of the default profile" }],
    lines: (operands) =>
      operands.length === 0 ? Effect.succeed([["LIST"]]) : Effect.map(
        remotes(operands),
        (paths) => paths.map((path): Line => path === "/" ? ["LIST"] : ["LIST", path])
      )
  },
  {
    name: "cat",
    summary: "Write the content of files on a server to standard output",
    commands: ["READ"],
    operands: "host:file …",
    examples: [{ command: "fip cat work:log.txt | tail" }],
    lines: each("READ")
  },
  {
    name: "cp",
    summary: "Copy files to a server, from it, on it, or from one server to another",
    commands: ["UPLOAD", "DOWNLOAD", "COPY"],
    operands: "from … to",
    examples: [
      { command: "fip cp report.pdf work:docs/" },
      { command: "fip cp -r work:photos/ photos" },
      { command: "fip cp work:a.txt work:b.txt" },
      { command: "fip cp -r work:photos/ home:photos/", description: "from one server to another, by this machine" }
    ],
    across: (paths) => ["COPY", ...paths],
    lines: (operands) =>
      Effect.flatMap(splitLast(operands), ([sources, target]) => {
        if (!isRemote(target)) return download(sources, target.local)
        return sources.every(isRemote) ? within("COPY")(sources, target.path) : upload(sources, target.path)
      })
  },
  {
    name: "put",
    summary: "Send files, or - for standard input, to a server",
    commands: ["UPLOAD"],
    operands: "file … host:folder/",
    examples: [{ command: "fip put *.txt work:texts/" }, { command: "journalctl -b | fip put - work:log.txt" }],
    lines: (operands) =>
      Effect.flatMap(
        splitLast(operands),
        ([sources, target]) =>
          isRemote(target)
            ? upload(sources, target.path)
            : usage(`"${target.local}" stands on no server: say where to, as host:folder/`)
      )
  },
  {
    name: "get",
    summary: "Fetch files from a server, to the folder one is in unless another is named",
    commands: ["DOWNLOAD"],
    operands: "host:file … [folder]",
    examples: [{ command: "fip get work:docs/report.pdf" }, { command: "fip get work:a.txt work:b.txt texts/" }],
    lines: (operands) => {
      const target = operands.at(-1)
      return target !== undefined && operands.length > 1 && !isRemote(target)
        ? download(operands.slice(0, -1), target.local)
        : download(operands, undefined)
    }
  },
  {
    name: "sync",
    summary: "Make a folder on a server like one of this machine, or the other way round",
    commands: ["MIRROR"],
    sets: ["up", "down"],
    operands: "from to",
    examples: [
      { command: "fip sync src/ work:src/", description: "sends what is new or has changed" },
      { command: "fip sync work:src/ src/ --delete --dry-run" }
    ],
    lines: ([from, to, ...others]) =>
      from === undefined || to === undefined || others.length > 0 || isRemote(from) === isRemote(to)
        ? usage("sync takes two folders, one of this machine and one on a server: fip sync src/ host:src/")
        : Effect.succeed([["MIRROR" + (isRemote(to) ? " --up" : " --down"), pathOf(from), pathOf(to)]])
  },
  {
    name: "mv",
    summary: "Give files on a server another name or folder",
    commands: ["RENAME"],
    operands: "host:file … host:name",
    examples: [{ command: "fip mv work:a.txt work:old/" }],
    lines: (operands) =>
      Effect.flatMap(
        splitLast(operands),
        ([sources, target]) =>
          isRemote(target)
            ? within("RENAME")(sources, target.path)
            : usage(`"${target.local}" stands on no server: fip get and fip rm`)
      )
  },
  {
    name: "rm",
    summary: "Delete files on a server",
    commands: ["DELETE"],
    operands: "host:file …",
    examples: [
      { command: "fip rm work:a.txt work:b.txt" },
      { command: "fip rm -r work:old/", description: "shows what there is, and asks; --yes in a script" }
    ],
    lines: each("DELETE")
  }
]

/** What the operands of all forms are called. */
export const PATH_ARGUMENT = "path"

/** The names of all forms. */
export const FORM_NAMES: ReadonlyArray<string> = FORMS.map(({ name }) => name)

/** The flags of some commands of the shell, each once. */
const flagsOf = ({ commands, sets = [] }: Form): ReadonlyArray<Completions.FlagDescriptor> => {
  const flags = new Map<string, Completions.FlagDescriptor>()
  for (const command of childrenOf(commandTree)) {
    if (!commands.includes(command.name.toUpperCase())) continue
    for (const flag of Completions.fromCommand(command).flags) {
      if (!Object.hasOwn(accessFlags, flag.name) && !sets.includes(flag.name)) flags.set(flag.name, flag)
    }
  }
  return [...flags.values()]
}

/** A flag that is handed on: what it comes to are the words that say so. */
const handedOn = (
  { aliases, description = "", name, type }: Completions.FlagDescriptor
): Flag.Flag<ReadonlyArray<string>> => {
  const described = <A>(flag: Flag.Flag<A>): Flag.Flag<A> =>
    aliases.reduce((flag, alias) => Flag.withAlias(flag, alias), Flag.withDescription(flag, description))
  return type._tag === "Boolean"
    ? described(Flag.Boolean(name)).pipe(
      Flag.withDefault(false),
      Flag.map((given) => given ? [`--${name}`] : [])
    )
    : described(type._tag === "Choice" ? Flag.Literals(name, type.values) : Flag.String(name)).pipe(
      Flag.atLeast(0),
      Flag.map((values) => values.map((value) => `--${name}=${value}`))
    )
}

/** The servers that the operands name: the default profile where there are no operands. */
const serversOf = (operands: ReadonlyArray<Operand>): Effect.Effect<ReadonlyArray<ServerName>, UsageError> => {
  const named = operands.filter(isRemote).map(({ server }) => server)
  if (named.length > 0) return Effect.succeed(named)
  return operands.length === 0
    ? Effect.succeed([{ name: "", port: undefined, username: undefined, isUrl: false }])
    : usage("nothing here stands on a server: a file there is host:name, profile:name, or :name of the default profile")
}

/** The one server that is meant by all of the names, if it is one; a user who is named by one of them is named for all. */
const sameServer = Effect.fnUntraced(function*(names: ReadonlyArray<ServerName>) {
  let one: Server | undefined
  for (const name of names) {
    const server = yield* findServer(name)
    if (one === undefined || (one.username === undefined && isSame(one, server))) one = server
    else if (!isSame(one, server) || (server.username !== undefined && server.username !== one.username)) {
      return undefined
    }
  }
  return one
})

const theServer = (names: ReadonlyArray<ServerName>): Effect.Effect<Server, UsageError> =>
  Effect.filterOrElse(
    sameServer(names),
    Predicate.isNotUndefined,
    () => usage("these are two servers, or two users: fip cp takes files from one to another")
  )

const isSame = (a: Server, b: Server): boolean => a.host.toLowerCase() === b.host.toLowerCase() && a.port === b.port

/** Nothing here runs in the background: a file may have that name. */
const word = (text: string): Word => ({ text, literal: text === "&" })

/** Flags before `--`, operands behind it: none of those is ever taken for a flag. */
const wordsOf = ([command, ...operands]: Line, flags: ReadonlyArray<string>): ReadonlyArray<Word> =>
  [...command.split(" "), ...flags, "--", ...operands].map(word)

/** The lines of the shell that a form's operands come to, and the server they are meant for. */
const translate = Effect.fnUntraced(function*(form: Form, texts: ReadonlyArray<string>) {
  const operands = yield* Effect.forEach(
    texts,
    (text) => Effect.map(parseRemoteName(text), (remote): Operand => remote ?? { local: text })
  )
  const servers = yield* serversOf(operands)
  const lines = yield* form.lines(operands)
  if (lines.length === 0) return yield* usage(`say which: fip ${form.name} ${form.operands}`)
  const across = operands.every(isRemote) ? form.across?.(operands.map(pathOf)) : undefined
  return { lines, servers, across }
})

/** The same of the form of a name. */
export const linesOf = (name: string, texts: ReadonlyArray<string>) =>
  Effect.flatMap(
    Effect.fromNullishOr(FORMS.find((form) => form.name === name)),
    (form) => translate(form, texts)
  )

/** The form of that name, as a command of the program. */
const formCommand = (form: Form) => {
  const flags: Array<Flag.Flag<ReadonlyArray<string>>> = flagsOf(form).map(handedOn)
  return Command.make(
    form.name,
    {
      operands: Argument.String(PATH_ARGUMENT).pipe(
        Argument.withMetavar(form.operands),
        Argument.withDescription("host:path, profile:path or :path on a server; anything else is of this machine"),
        Argument.variadic()
      ),
      flags,
      ...accessFlags,
      keepGoing: keepGoingFlag
    },
    (given) =>
      Effect.gen(function*() {
        const { across, lines, servers } = yield* translate(form, given.operands)
        const flags = given.flags.flat()
        const [target] = servers.slice(-1)
        if (across !== undefined && target !== undefined && (yield* sameServer(servers)) === undefined) {
          const from = yield* theServer(servers.slice(0, -1))
          const to = yield* theServer([target])
          return yield* copyBetween({ ...given, from, to }, form.name, wordsOf(across, flags))
        }
        const server = yield* theServer(servers)
        return yield* runOnServer(
          { ...given, server },
          { _tag: "Lines", name: form.name, lines: lines.map((line) => wordsOf(line, flags)) },
          FipClient.layer
        )
      }).pipe(ending(form.name, given.json))
  ).pipe(Command.withDescription(form.summary), Command.withExamples(form.examples))
}

export const formCommands = (names: ReadonlyArray<string>) =>
  FORMS.filter(({ name }) => names.includes(name)).map(formCommand)

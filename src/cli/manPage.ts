/**
 * fip(1), the manual page, written from the definitions of the commands in roff with the macros of man(7). `npm run docs`
 * stores it as packaging/fip.1; a test keeps it true.
 */
import { Effect, Option } from "effect"
import { Command, type HelpDoc } from "effect/cli"
import { VERSION } from "../protocol/Limits.ts"
import { allCommands } from "./allCommands.ts"
import { commandTree } from "./shell/commandTree.ts"
import { commandHelps } from "./shell/help.ts"
import { childrenOf, helpDocOf } from "./shell/helpDoc.ts"

const root: Command.Command.Any = Command.make("fip").pipe(
  Command.withSubcommands(allCommands)
)

/** Text as roff takes it literally: no escapes, no requests, and a minus that can be copied. */
const text = (line: string): string =>
  line.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^[.']/, "\\&$&").replaceAll("\n", " ")

const bold = (words: string): string => `\\fB${text(words)}\\fR`

const heading = (title: string): string => `.SH ${title.toUpperCase()}`

/** A term and what it means. */
const item = (term: string, meaning: string): ReadonlyArray<string> => [".TP", term, text(meaning)]

const flagTerm = (flag: HelpDoc.FlagDoc): string => {
  const names = [...flag.aliases, `--${flag.name}`].map(bold).join(", ")
  return flag.type === "boolean" ? names : `${names} \\fI${text(flag.type)}\\fR`
}

const say = (description: Option.Option<string>): string => Option.getOrElse(description, () => "")

const example = ({ command, description }: HelpDoc.ExampleDoc): ReadonlyArray<string> =>
  [".PP", description === undefined ? "" : text(`${description}:`), ".RS", ".nf", text(command), ".fi", ".RE"]
    .filter((line) => line !== "")

/** One command: how it is called, what it does, its words and examples. */
const section = (path: ReadonlyArray<string>, doc: HelpDoc.HelpDoc): ReadonlyArray<string> => [
  `.SS ${text(`fip ${path.join(" ")}`)}`,
  text(`${doc.description.replace(/\.$/, "")}.`),
  ".PP",
  bold(doc.usage),
  ...(doc.args ?? []).flatMap((arg) => item(`\\fI${text(arg.name)}\\fR`, say(arg.description))),
  ...doc.flags.flatMap((flag) => item(flagTerm(flag), say(flag.description))),
  ...(doc.examples ?? []).flatMap(example)
]

/** The members of a family each have a section; the family itself has one when it says more than they do. */
const sections = (
  commands: ReadonlyArray<Command.Command.Any>,
  above: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(
    Effect.forEach(commands, (command) =>
      Effect.gen(function*() {
        const path = [...above, command.name]
        const members = childrenOf(command)
        return [
          ...section(path, yield* helpDocOf(root, path)),
          ...yield* sections(members, path)
        ]
      })),
    (found) => found.flat()
  )

const EXIT_STATUS = [
  ["0", "all done; for fip serve: stopped by SIGTERM or SIGINT"],
  ["1", "the server refused; for fip serve: it could not start, or did not end in time"],
  ["2", "usage: the command line, the environment or a settings file asks for what cannot be"],
  ["3", "no connection"],
  ["4", "trust: the server's key is not the one that was pinned"],
  ["5", "authentication"],
  ["6", "a transfer was interrupted: the same command again goes on where it was"],
  ["130", "cancelled with Ctrl-C; for fip serve: ended by a second signal"]
] as const

const ENVIRONMENT = [
  ["FIP_USERNAME, FIP_PASSWORD", "who to log in as, for the shell"],
  [
    "FIP_DATA_DIR, FIP_HOST, FIP_PORT, ...",
    "settings of fip serve, each as FIP_ and its name: fip serve --print-config lists them"
  ],
  ["NOTIFY_SOCKET, WATCHDOG_USEC", "set by systemd, which fip serve tells when it is ready"]
] as const

const FILES = [
  ["~/.local/share/fip", "the data folder of fip serve, unless another is named ($XDG_DATA_HOME/fip)"],
  ["~/.config/fip/known_hosts", "the keys of the servers that are known here ($XDG_CONFIG_HOME/fip)"]
] as const

const items = (pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> =>
  pairs.flatMap(([term, meaning]) => item(bold(term), meaning))

export const manPage = Effect.fnUntraced(function*() {
  const shell = yield* commandHelps(commandTree)
  return [
    `.\\" Made from the command definitions (npm run docs).`,
    `.TH FIP 1 "" "fip ${text(VERSION)}" "File Interaction Protocol"`,
    heading("name"),
    text("fip - a place for a group's files: server, shell and administration"),
    heading("synopsis"),
    `${bold("fip")} \\fIcommand\\fR [flags] [arguments]`,
    heading("description"),
    text(
      "FIP gives a group of people one place for their files. fip serve holds and serves them, fip connect is a shell to work on them, and fip admin administers the server of this machine."
    ),
    heading("commands"),
    ...yield* sections(childrenOf(root), []),
    heading("commands of the shell"),
    text("Within fip connect, or after its --. HELP tells more of each; names in any case."),
    ...shell.flatMap((help) => item(bold(help.usage), help.summary)),
    heading("exit status"),
    ...items(EXIT_STATUS),
    heading("environment"),
    ...items(ENVIRONMENT),
    heading("files"),
    ...items(FILES),
    heading("see also"),
    text("The pages in docs/ of the project: commands.md, operations.md, security.md, protocol.md."),
    ""
  ].join("\n")
})

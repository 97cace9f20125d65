/** The part of docs/commands.md that is about the program around the shell, written from its own definitions. */
import { Effect, Option } from "effect"
import { Command, type HelpDoc } from "effect/cli"
import { allCommands } from "./allCommands.ts"
import { childrenOf, helpDocOf } from "./shell/helpDoc.ts"

const INTRODUCTION = `## The program, line by line

Everything below runs lines of the shell, described above, and ends with the same statuses; \`--json\` prints what those
lines print. Flags of a form that are not its own are those of the commands it stands for.

**Servers.** A server is a profile (\`work\`), a host (\`files.example.org\`), or \`user@host:port\`; \`fip://host:port\` is always
a host, also where a profile has its name. What stands on a server has its name before a colon: \`work:docs/a.txt\`,
\`host:6090:a.txt\`, \`alice@host:~bob/a.txt\`, \`fip://host/docs/a.txt\`; \`work:\` is everything of one's own, and \`:docs/\` stands
on the default profile. Anything else is a path of this machine, and so is \`./a:b\`. \`-\` is standard input, for \`fip put\`.

What ends in \`/\` is a folder that files go into; several go into a folder only. \`-r\` takes a folder with all that is
under it, under the name that is given, or under its own where that is \`host:\`. \`fip cp\` from server to server works on one
server; between two, go by this machine. Patterns in quotes are matched on the server: \`fip get 'work:docs/*.pdf'\`.

**Failures.** A form and a script stop at the first failure. With \`--keep-going\` they go on, except after Ctrl-C and where
the server's key is not the one that was pinned; the exit status is that of the first failure.

**Sessions.** \`fip login\` keeps a session in \`$XDG_STATE_HOME/fip/sessions\` (never the password), and what follows needs none:
the shell, scripts and one-line forms take it up when they are given no password, or the one in FIP_PASSWORD; \`--password\`
logs in anew. It is of the user who is named (\`user@\`, \`--username\`, \`FIP_USERNAME\`, the profile, in that order) or of
whoever logged in last there. Any number of commands may use it at once. It ends with \`fip logout\`, when it is not used for as
long as the server keeps sessions (30 days), or when it is ended from elsewhere (STERM, UPASS). Should the answer to a
renewal be lost and no command run in the minute after, it has to be begun again. Without a kept session a form takes
\`FIP_USERNAME\` and \`FIP_PASSWORD\`, or the profile's \`password_command\`, or asks at the terminal; that session ends with it.

**Settings** are in \`$XDG_CONFIG_HOME/fip/config.toml\`. What cannot be meant is an error with line and column.

\`\`\`toml
default = "work"

[profile.work]
host = "files.example.org"
port = 6090                           # unless it is 6090
username = "alice_smith"
known_hosts = "work_hosts"            # beside this file, instead of known_hosts
password_command = "pass show fip"    # or a list: ["pass", "show", "fip"]; its first line is the password
\`\`\`

\`fip profile\` changes only what it is told to: comments and the order of things stay. A file that it cannot change without
that, it leaves alone.

**Completions.** \`fip completions bash\` (or \`zsh\`, \`fish\`) prints what that shell needs to complete commands, flags and paths
of this machine. Names on a server complete in the shell of \`fip connect\`.
`

const root: Command.Command.Any = Command.make("fip").pipe(Command.withSubcommands(allCommands))

const say = (description: Option.Option<string>): string => Option.getOrElse(description, () => "")

const flagLine = ({ aliases, description, name, type }: HelpDoc.FlagDoc): string => {
  const names = [...aliases, `--${name}`].join(", ")
  return `- \`${type === "boolean" ? names : `${names} ${type}`}\`: ${say(description)}`
}

/** Flags that every command has which talks to a server. */
const COMMON = new Set(["blind-trust", "known-hosts", "compress", "json", "keep-going"])

const section = (path: ReadonlyArray<string>, doc: HelpDoc.HelpDoc): string => {
  const flags = doc.flags.filter(({ name }) => !COMMON.has(name))
  const words = [
    ...(doc.args ?? []).map((arg) => `- \`${arg.name}\`: ${say(arg.description)}`),
    ...flags.map(flagLine)
  ]
  const examples = (doc.examples ?? []).map(({ command, description }) =>
    description === undefined ? command : `${command}   # ${description}`
  )
  return [
    `### fip ${path.join(" ")}`,
    `${doc.description.replace(/\.$/, "")}.`,
    ...(words.length === 0 ? [] : [words.join("\n")]),
    ...(examples.length === 0 ? [] : [`\`\`\`\n${examples.join("\n")}\n\`\`\``])
  ].join("\n\n")
}

/** The commands of `allCommands` that are about a server elsewhere; docs/operations.md has the others. */
export const programMarkdown = Effect.gen(function*() {
  const parts: Array<string> = [INTRODUCTION.trimEnd()]
  const commands = root.subcommands.flatMap(({ commands, group }) => group === "server" ? [] : commands)
  for (const command of commands) {
    const members = childrenOf(command)
    for (const path of members.length === 0 ? [[command.name]] : members.map(({ name }) => [command.name, name])) {
      parts.push(section(path, yield* helpDocOf(root, path)))
    }
  }
  const connect = (yield* helpDocOf(root, ["cp"])).flags.filter(({ name }) => COMMON.has(name))
  parts.push(`### Flags of all of them\n\nOf all that talk to a server:\n\n${connect.map(flagLine).join("\n")}`)
  return parts.join("\n\n")
})

/** docs/commands.md, written from the definitions of the commands. `npm run docs` stores it; a test keeps it true. */
import { Effect } from "effect"
import { programMarkdown } from "../programMarkdown.ts"
import { commandTree } from "./commandTree.ts"
import { type CommandHelp, commandHelps } from "./help.ts"

const INTRODUCTION = `# Commands of the shell

This page is made from the command definitions (\`npm run docs\`).

\`fip connect <host> [port]\` opens the shell; with a command after \`--\` it runs that one and ends; with standard input
that is no terminal it runs one command a line (\`#\` begins a comment) and stops at the first failure. One-line forms as
\`fip cp report.pdf work:docs/\`, and the rest of the program, come [below](#the-program-line-by-line).

- Names of commands and flags may be typed in any case, flags with one dash or two. Arguments and data are taken as typed.
- A word with blanks goes in quotes: \`'…'\` as it is, \`"…"\` with \`\\"\` and \`\\\\\`. Outside quotes a backslash escapes the
  next character. A quoted word is never a flag, and neither is anything after \`--\`: \`WRITE f -- -x\`, \`WRITE f "-x"\`.
- \`docs/a.txt\` is your own file, \`~alice/docs/a.txt\` is Alice's. Where a command takes \`[owner]\`, \`a.txt alice\` is the
  same as \`~alice/a.txt\`.
- UPLOAD, DOWNLOAD, LIST, READ and DELETE take patterns: \`*\` and \`?\` within a part of a name, \`[…]\`, and \`**\` for any
  folders. A quoted word is none, and a file of just that name goes before what it would match. DELETE shows what a pattern
  or \`--recursive\` names and asks; where nobody can answer it wants \`--yes\`.
- After \`CD docs\`, \`a.txt\` is \`docs/a.txt\`, \`../b.txt\` is \`b.txt\`, and LIST lists \`docs/\`; after \`CD ~alice/docs\`, \`a.txt\`
  is \`~alice/docs/a.txt\`. \`/a.txt\`, \`~/a.txt\` and \`~me/a.txt\` are your own \`a.txt\` wherever you are, and \`~alice/a.txt\` is
  Alice's. A new name that RENAME or COPY gives is in the folder if that is the owner's, else at the top of the owner's files.
- A line that ends in \`&\` runs beside the prompt: transfers and WATCH can. JOBS lists what runs, CANCEL ends one, WAIT
  waits. Nobody is asked anything on its behalf. BYE asks before it cancels what runs; Ctrl-D, a script and \`--\` wait for
  it, and its failure counts.
- \`ALIAS ll='LIST --long'\` makes \`ll\` a beginning of lines; \`SOURCE file\` runs lines of a file. Aliases for every shell at
  a terminal stand in \`$XDG_CONFIG_HOME/fip/config.toml\`, in a table \`[alias]\`: \`ll = "LIST --long"\`.
- \`-bye\` after any command leaves afterwards, whatever comes of it.
- Results go to standard output, messages to standard error.

At a terminal, Tab completes commands, flags, names on the server and on this machine, and users; Up and Down go through
earlier lines, those that begin with what is typed, and Ctrl-R finds those that hold it. They are kept in \`$XDG_STATE_HOME/fip/history\` (0600), without any
that holds a password. Ctrl-C ends the command that runs and nothing else. A result that is longer than the screen stops
at its end: blank goes on, \`q\` ends it. What \`FIP_PAGER\` names, or else \`PAGER\`, is used instead, as a line for \`/bin/sh\`;
\`FIP_PAGER=off\` shows everything at once. Who is logged in stays connected: the shell asks
the server every minute whether it is there, and connects again when the connection is lost.

## Exit status

| status | meaning |
| --- | --- |
| 0 | all done |
| 1 | the server refused |
| 2 | usage: unknown command or flag, missing argument, unclosed quote, missing local file |
| 3 | no connection |
| 4 | trust: the server's key is not the one that was pinned |
| 5 | authentication: wrong password, or not logged in |
| 6 | interrupted transfer: connection lost or content damaged in READ, UPLOAD, DOWNLOAD and the …FROM commands, or in DELETE of several files. The same command again goes on where it was ([transfers.md](transfers.md)), READ from the beginning |
| 130 | cancelled with Ctrl-C |

## \`--json\`

One object on one line for each command:

\`\`\`json
{"command":"LIST","ok":true,"code":"1:qa","message":"1 file, 0 folders","result":{"files":[],"folders":[]}}
{"command":"READ","ok":false,"code":"2:nf","message":"there is no file notes.txt"}
\`\`\`

\`command\` is the first word in upper case. A refusal has the wire's \`code\` (docs/protocol.md, section 5), and \`field\`,
\`retry_after_ms\`, \`current_version\`, \`locked_by\`, \`locked_until\` and \`request_id\` where the server sent them. A connection
that fails before the first line of a script is reported as \`CONNECT\`. With \`FIP_USERNAME\` or \`--username\` the shell logs in before the first command
that needs a session; when that fails, so does the command. Other codes:

| code | meaning |
| --- | --- |
| \`local:ok\` | done without the server (HELP, CLEAR, BYE) |
| \`local:usage\` | the line is wrong, or something it needs is missing |
| \`local:file\` | a file or folder of this machine is missing or cannot be used |
| \`local:connection\` | no connection, or it was lost |
| \`local:protocol\` | the server does not speak the protocol as documented |
| \`local:trust\` | the server's key is not the one that was pinned |
| \`local:login\` | the command needs a session: log in first |
| \`local:integrity\` | content did not arrive as it was sent |
| \`local:cancelled\` | cancelled with Ctrl-C |
| \`local:failed\` | a line of the file that SOURCE ran, or a job that WAIT waited for, has failed; it was reported by itself |
| \`local:internal\` | a defect of this program |
`

const list = (pairs: ReadonlyArray<readonly [string, string]>): string =>
  pairs.map(([name, description]) => `- \`${name}\`: ${description}`).join("\n")

const exampleLine = ({ command, description }: CommandHelp["examples"][number]): string =>
  description === undefined ? command : `${command}   # ${description}`

const section = (help: CommandHelp): string => {
  // -bye is on every command and described once, above.
  const words = [...help.arguments, ...help.flags.slice(0, -1)]
  return [
    `### ${help.name}`,
    `${help.summary}.`,
    `\`\`\`\n${help.usage}\n\`\`\``,
    ...(words.length === 0 ? [] : [list(words)]),
    "Examples:",
    `\`\`\`\n${help.examples.map(exampleLine).join("\n")}\n\`\`\``,
    `\`result\`: ${help.json}.`
  ].join("\n\n")
}

export const commandsMarkdown = Effect.fnUntraced(function*() {
  const helps = yield* commandHelps(commandTree)
  const parts: Array<string> = [INTRODUCTION.trimEnd()]
  helps.forEach((help, index) => {
    if (help.group !== helps[index - 1]?.group) parts.push(`## ${help.group}`)
    parts.push(section(help))
  })
  parts.push(yield* programMarkdown)
  return `${parts.join("\n\n")}\n`
})

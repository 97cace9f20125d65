/**
 * `fip __complete host:do`: what a shell that completes a word asks. It prints the words that could stand there, one on a
 * line, and says nothing else, whatever happens.
 *
 * A person who presses Tab has not asked for anything: no question, no new pin, no login, only a session that is kept at a
 * server whose key is pinned, and less than a second.
 */
import { Effect, Layer } from "effect"
import { Argument, Command } from "effect/cli"
import { FipClient } from "../client/FipClient.ts"
import { findServer, parseRemoteName } from "./ServerName.ts"
import { completionNames } from "./shell/CompletionNames.ts"
import { Jobs } from "./shell/Jobs.ts"
import { Output } from "./shell/Output.ts"
import { ValueKind } from "./shell/ValueKind.ts"
import { WorkspaceState } from "./shell/Workspace.ts"

/** For all of it, behind the start of the program. */
const PATIENCE = "700 millis"

const wordsFor = Effect.fnUntraced(function*(word: string) {
  const remote = yield* parseRemoteName(word)
  if (remote === undefined) return []
  const { host, knownHosts, port, username } = yield* findServer(remote.server)
  const path = remote.path === "/" ? "" : remote.path
  const client = FipClient.layer({
    host,
    port,
    knownHosts,
    takeUpSession: { username },
    confirmTrust: () => Effect.succeed(false),
    onNotice: () => {}
  })
  return yield* Effect.gen(function*() {
    const names = yield* completionNames(new WorkspaceState(), Effect.succeed([]))
    const before = word.slice(0, word.length - path.length)
    return (yield* names(ValueKind.FILE, path)).map((name) => before + name)
  }).pipe(Effect.provide(Layer.merge(client, Jobs.layer)), Effect.scoped)
})

export const completeNamesCommand = Command.make(
  "__complete",
  { word: Argument.String("word") },
  ({ word }) =>
    Effect.gen(function*() {
      const output = yield* Output
      const words = yield* wordsFor(word).pipe(
        Effect.timeout(PATIENCE),
        Effect.catchCause(() => Effect.succeed<ReadonlyArray<string>>([]))
      )
      yield* Effect.ignore(output.write(words.map((one) => `${one}\n`).join("")))
    }).pipe(Effect.provide(Output.layer))
)

/**
 * What is added to the scripts for the shells: they ask for a word with a colon in it, where a path may stand. What a
 * server answers is only ever a word to choose, quoted by the shell, and never run.
 */
const forms = (names: ReadonlyArray<string>, separator: string): string => names.join(separator)

const inBash = (names: ReadonlyArray<string>): string => `
_fip--complete()
{
  local cur prev words cword
  _init_completion -n "$COMP_WORDBREAKS" || return
  if [[ "$cur" != *:* || "$cur" == -* ]] || ((cword < 2)); then
    _fip "$@"
    return
  fi
  case "\${words[1]}" in
    ${forms(names, "|")}) ;;
    *) _fip "$@"; return ;;
  esac
  local _plain="$cur" _names=() _name
  _plain=\${_plain//\\\\/}; _plain=\${_plain//\\"/}; _plain=\${_plain//\\'/}
  while IFS= read -r _name; do _names+=("$_name"); done < <(command fip __complete -- "$_plain" 2>/dev/null </dev/null)
  _fip--choices "$cur" "$2" "\${_names[@]}"
  [[ \${#COMPREPLY[@]} -eq 1 && "\${COMPREPLY[0]}" == */ ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _fip--complete fip
`

const inZsh = `
_fip_paths() {
  if [[ "$PREFIX" != *:* ]]; then
    _files
    return
  fi
  local -a names folders
  names=("\${(@f)$(command fip __complete -- "\${(Q)PREFIX}" 2>/dev/null </dev/null)}")
  folders=("\${(@M)names:#*/}")
  names=("\${(@)names:#*/}")
  compadd -S '' -a -- folders
  compadd -a -- names
}
`

const inFish = (names: ReadonlyArray<string>): string => `
function __fip_names
    set -l word (commandline -ct)
    string match -q -- '*:*' $word; and command fip __complete -- $word 2>/dev/null </dev/null
end
complete -c fip -n '__fish_seen_subcommand_from ${forms(names, " ")}' -a '(__fip_names)'
`

/** A script with the names of files on servers. `names`: the commands that take them. */
export const withServerNames = (
  shell: "bash" | "zsh" | "fish",
  script: string,
  names: ReadonlyArray<string>
): string => {
  switch (shell) {
    case "bash":
      return script.replace("complete -F _fip fip\n", () => inBash(names))
    case "zsh":
      return script.replaceAll(":_files'", ":_fip_paths'").replace("\n# Handle both", () => `${inZsh}\n# Handle both`)
    case "fish":
      return script + inFish(names)
  }
}

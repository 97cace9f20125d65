/**
 * How a command of the shell is defined: one value from which its parser, its help, its page in docs/commands.md and its
 * handler come. Define it in commands/<group>.ts and list it in commandTree.ts; nothing else knows it by name.
 */
import { Context, Effect, type Stream } from "effect"
import { Command } from "effect/cli"
import type { FipClient } from "../../client/FipClient.ts"
import type { CommandError, CommandKind } from "./Failure.ts"
import type { Jobs } from "./Jobs.ts"
import type { Output } from "./Output.ts"
import type { Questions } from "./Questions.ts"
import { type Outcome, reportOutcome } from "./Report.ts"

/** Logs in as the shell was told to, unless somebody is: what a command does first, if it needs a session. */
export const EnsureSession = Context.Reference<Effect.Effect<void, CommandError, FipClient | Questions>>(
  "fip/cli/shell/EnsureSession",
  { defaultValue: () => Effect.void }
)

/** What a handler may use. */
export type CommandServices = FipClient | Jobs | Output | Questions | Command.Environment

/** Runs the lines of a file until one fails, which is its failure; the result says how many there were. */
export const RunSource = Context.Reference<
  (file: string, lines: Stream.Stream<string, CommandError>) => Effect.Effect<number, CommandError, CommandServices>
>("fip/cli/shell/RunSource", { defaultValue: () => () => Effect.succeed(0) })

/** What the shell and the documentation know of a command besides its parser. */
export interface CommandFacts {
  /** As people write it: upper case. */
  readonly title: string
  readonly kind: CommandKind
  /** Words after the command's name that are no secret; what follows is never kept in the history. */
  readonly publicWords: number
  /** Whether a line with `&` at its end may run it beside the prompt. */
  readonly background: boolean
  /** What it shows comes as it happens, and is never held back for a pager. */
  readonly live: boolean
  /** What `result` holds with `--json`. */
  readonly json: string
}

export const CommandFacts = Context.Reference<CommandFacts>("fip/cli/shell/CommandFacts", {
  defaultValue: () => ({
    title: "",
    kind: "request",
    publicWords: Number.POSITIVE_INFINITY,
    background: false,
    live: false,
    json: ""
  })
})

/** Defines a command. `name` is upper case, and several words for a command of a family (`QUERY FILE`). */
export const shellCommand = <const Config extends Command.Command.Config>(definition: {
  readonly name: string
  readonly summary: string
  readonly examples: ReadonlyArray<Command.Command.Example>
  readonly json: string
  readonly input: Config
  readonly kind?: CommandKind
  readonly publicWords?: number
  /** Transfers may, unless this says no. */
  readonly background?: boolean
  readonly live?: true
  /** False for what needs nobody to be logged in. */
  readonly session?: false
  readonly run: (input: Command.Command.Config.Infer<Config>) => Effect.Effect<Outcome, CommandError, CommandServices>
}) => {
  const words = definition.name.split(" ")
  const report = (outcome: Outcome) => reportOutcome(words[0] ?? "", outcome)
  return Command.make(
    (words.at(-1) ?? "").toLowerCase(),
    definition.input,
    (input) =>
      (definition.session === false ? Effect.void : Effect.flatten(EnsureSession)).pipe(
        Effect.andThen(definition.run(input)),
        Effect.flatMap(report)
      )
  ).pipe(
    Command.withDescription(definition.summary),
    Command.withExamples(definition.examples),
    Command.annotate(CommandFacts, {
      title: definition.name,
      kind: definition.kind ?? "request",
      publicWords: definition.publicWords ?? Number.POSITIVE_INFINITY,
      background: definition.background ?? definition.kind === "transfer",
      live: definition.live ?? false,
      json: definition.json
    })
  )
}

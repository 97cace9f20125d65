/**
 * How a command of `fip admin` is defined: what it asks of the server, and what it says about the answer. Every one
 * takes `--data-dir` and `--json`; exit statuses are those of the shell, 3 when no server runs on the data folder.
 */
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { AdminCommandName, AdminInput, AdminResult } from "../../server/admin/Commands.ts"
import { dataDirOf } from "../serverSettings.ts"
import { ExitStatus, failureOf, type UsageError } from "../shell/Failure.ts"
import { Output, type OutputClosed } from "../shell/Output.ts"
import { JsonMode, note, type Outcome, reportFailure, reportOutcome } from "../shell/Report.ts"
import { ShellExit } from "../ShellExit.ts"
import { ask, type NoServer } from "./AdminClient.ts"
import { type OnProgress, withProgress } from "./adminProgress.ts"

export const adminFlags = {
  dataDir: Flag.String("data-dir").pipe(
    Flag.withMetavar("dir"),
    Flag.withDescription("the server's data folder (default FIP_DATA_DIR, or $XDG_DATA_HOME/fip)"),
    Flag.optional
  ),
  json: Flag.Boolean("json").pipe(Flag.withDescription("print one JSON object"), Flag.withDefault(false))
}

/** What is said when it worked: a sentence, or (`text`) lines on standard output, the sentence with them if `both`. */
export type Said = Pick<Outcome, "message" | "text"> & {
  readonly both?: true
  /** It worked, and what it found is bad: the exit status says so. */
  readonly failed?: true
}

const fail = Effect.fnUntraced(function*(command: string, error: NoServer | Refusal | UsageError) {
  const failure = error._tag === "NoServer"
    ? { status: ExitStatus.NO_CONNECTION, code: "local:connection", message: error.message }
    : failureOf(error, "request")
  yield* reportFailure(command, failure)
  return yield* new ShellExit({ status: failure.status })
})

type Fault = NoServer | Refusal | UsageError

/** What the common flags gave. */
type Common = Command.Command.Config.Infer<typeof adminFlags>

/** Runs a command that asks the server of a data folder, shows results as it was told to, and ends as it went. */
export const asking = <A, R>(
  command: string,
  given: Common,
  run: (dataDir: string) => Effect.Effect<A, Fault | OutputClosed | ShellExit, R>
) =>
  dataDirOf(Option.getOrUndefined(given.dataDir)).pipe(
    Effect.flatMap(run),
    Effect.asVoid,
    Effect.catchTags({
      NoServer: (error) => fail(command, error),
      Refusal: (error) => fail(command, error),
      UsageError: (error) => fail(command, error),
      // Who reads the output has had enough.
      OutputClosed: () => Effect.void
    }),
    Effect.provideService(JsonMode, given.json),
    Effect.provide(Output.layer)
  )

/** Runs a command and says what came of it; `work` is given the data folder. */
export const runAdmin = <R extends object>(
  name: string,
  common: Common,
  work: (dataDir: string, onProgress: OnProgress) => Effect.Effect<{ readonly result: R; readonly said: Said }, Fault>
) =>
  asking(
    name,
    common,
    Effect.fnUntraced(function*(dataDir) {
      const { result, said: { both, failed, ...said } } = yield* withProgress((onProgress) => work(dataDir, onProgress))
      yield* reportOutcome(name, { code: "1:ok", result: { ...result }, ...said })
      if (both === true && !common.json) yield* note(said.message)
      if (failed === true) return yield* new ShellExit({ status: ExitStatus.REFUSED })
    })
  )

/** Defines the command that asks `name`; its last word is the word that people type. */
export const adminCommand = <K extends AdminCommandName, const Config extends Command.Command.Config>(definition: {
  readonly asks: K
  /** As it is typed, when that is not the last word of `asks`. */
  readonly name?: string
  readonly summary: string
  readonly input: Config
  readonly request: (
    input: Command.Command.Config.Infer<{ readonly own: Config }>["own"]
  ) => Effect.Effect<AdminInput<K>, UsageError>
  readonly say: (result: AdminResult<K>) => Said
}) => {
  const { asks } = definition
  return Command.make(
    definition.name ?? asks.split(" ").at(-1) ?? asks,
    { own: definition.input, common: adminFlags },
    ({ common, own }) =>
      runAdmin(
        asks,
        common,
        Effect.fnUntraced(function*(dataDir, onProgress) {
          const result = yield* ask(dataDir, asks, yield* definition.request(own), onProgress)
          return { result, said: definition.say(result) }
        })
      )
  ).pipe(Command.withDescription(definition.summary))
}

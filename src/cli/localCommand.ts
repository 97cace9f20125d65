/** Commands of the program that need no server: they show and change files of its user. */
import { Effect } from "effect"
import { Flag } from "effect/cli"
import type { LocalFileError } from "../client/ClientError.ts"
import type { TomlFault } from "../platform/TomlFile.ts"
import { ExitStatus, failureOf, type UsageError } from "./shell/Failure.ts"
import { Output } from "./shell/Output.ts"
import { JsonMode, type Outcome, reportFailure, reportOutcome } from "./shell/Report.ts"
import { ShellExit } from "./ShellExit.ts"

export const jsonFlag = Flag.Boolean("json").pipe(
  Flag.withDescription("print one JSON object"),
  Flag.withDefault(false)
)

export const knownHostsFlag = Flag.String("known-hosts").pipe(
  Flag.withMetavar("file"),
  Flag.withDescription("where keys of servers are pinned (default $XDG_CONFIG_HOME/fip/known_hosts)"),
  Flag.optional
)

/** Runs one, and reports what it came to in its name. */
export const runLocally = (
  command: string,
  json: boolean,
  use: Effect.Effect<Omit<Outcome, "code">, UsageError | LocalFileError | TomlFault, Output>
) =>
  use.pipe(
    Effect.flatMap((outcome) => reportOutcome(command, { code: "local:ok", ...outcome })),
    // Who reads the output has had enough.
    Effect.catchTag("OutputClosed", () => Effect.void),
    Effect.catch((error) =>
      Effect.andThen(
        reportFailure(
          command,
          error._tag === "TomlFault"
            ? { status: ExitStatus.USAGE, code: "local:file", message: error.message }
            : failureOf(error, "request")
        ),
        Effect.fail(new ShellExit({ status: ExitStatus.USAGE }))
      )
    ),
    Effect.provideService(JsonMode, json),
    Effect.provide(Output.layer)
  )

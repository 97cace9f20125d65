/** The program: the one place that runs an Effect and ends the process. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliError, Command, GlobalFlag } from "effect/cli"
import { VERSION } from "./protocol/Limits.ts"

/** A short command must not wait for the modules of the others: they load when none, or no known one, is named. */
const subcommands = async (name = "") => {
  switch (name) {
    case "connect":
      return [(await import("./cli/connect.ts")).connectCommand] as const
    case "serve":
      return [(await import("./cli/serve.ts")).serveCommand] as const
    case "admin":
      return [(await import("./cli/admin.ts")).adminCommandTree] as const
    case "login":
    case "logout":
    case "whoami": {
      const { loginCommand, logoutCommand, whoamiCommand } = await import("./cli/login.ts")
      return [loginCommand, logoutCommand, whoamiCommand] as const
    }
    case "cat":
    case "cp":
    case "get":
    case "ls":
    case "mv":
    case "put":
    case "rm":
    case "sync":
      return (await import("./cli/oneLine.ts")).formCommands([name])
    // For the scripts of completions alone, so it is in no list.
    case "__complete":
      return [(await import("./cli/completeNames.ts")).completeNamesCommand] as const
    default:
      return (await import("./cli/allCommands.ts")).allCommands
  }
}

const fip = Command.make("fip").pipe(
  Command.withDescription("File Interaction Protocol: a place for a group's files"),
  Command.withSubcommands(await subcommands(process.argv[2]))
)

// A second signal does not wait for anything.
let signals = 0
const onSignal = () => {
  signals += 1
  if (signals > 1) process.exit(130)
}
process.on("SIGINT", onSignal)
process.on("SIGTERM", onSignal)

const sayAndFail = <E extends { readonly message: string }>(error: E) =>
  Effect.andThen(Console.error(`fip: ${error.message}`), Effect.fail(error))

NodeRuntime.runMain(
  Command.run(fip, { version: VERSION }).pipe(
    Effect.catchTags({ ServeError: sayAndFail, UsageError: sayAndFail }),
    Effect.provide(NodeServices.layer),
    Effect.provideService(CliConfig.CliConfig, CliConfig.make({ builtIns: [GlobalFlag.Help, GlobalFlag.Version] }))
  ),
  {
    disableErrorReporting: true,
    teardown: (exit, onExit) =>
      Runtime.defaultTeardown(exit, (code) => {
        // A server that was told to stop and has stopped did what it should; a command line that is none is usage.
        if (code === 130 && process.argv[2] === "serve") return onExit(0)
        onExit(Exit.isFailure(exit) && CliError.isCliError(Cause.squash(exit.cause)) ? 2 : code)
      })
  }
)

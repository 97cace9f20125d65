/** The program: the one place that runs an Effect and ends the process. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliError, Command, GlobalFlag } from "effect/cli"
import { VERSION } from "./protocol/Limits.ts"

/** A short command must not wait for the modules of the others: they load when none, or no known one, is named. */
const subcommands = async () => {
  switch (process.argv[2]) {
    case "connect":
      return [(await import("./cli/connect.ts")).connectCommand] as const
    case "serve":
      return [(await import("./cli/serve.ts")).serveCommand] as const
    case "admin":
      return [(await import("./cli/admin.ts")).adminCommandTree] as const
    default: {
      const [{ serveCommand }, { connectCommand }, { adminCommandTree }, { knownHostsCommand }] = await Promise.all([
        import("./cli/serve.ts"),
        import("./cli/connect.ts"),
        import("./cli/admin.ts"),
        import("./cli/knownHosts.ts")
      ])
      return [serveCommand, connectCommand, adminCommandTree, knownHostsCommand] as const
    }
  }
}

const fip = Command.make("fip").pipe(
  Command.withDescription("File Interaction Protocol: a place for a group's files"),
  Command.withSubcommands(await subcommands())
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

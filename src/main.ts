/** The program: the one place that runs an Effect and ends the process. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Runtime } from "effect"
import { CliConfig, CliError, Command, GlobalFlag } from "effect/cli"
import { adminCommandTree } from "./cli/admin.ts"
import { connectCommand } from "./cli/connect.ts"
import { knownHostsCommand } from "./cli/knownHosts.ts"
import { serveCommand } from "./cli/serve.ts"
import { VERSION } from "./protocol/Limits.ts"

const fip = Command.make("fip").pipe(
  Command.withDescription("File Interaction Protocol: a place for a group's files"),
  Command.withSubcommands([serveCommand, connectCommand, adminCommandTree, knownHostsCommand])
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

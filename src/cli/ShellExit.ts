import { Data, Runtime } from "effect"
import type { ExitStatus } from "./shell/Failure.ts"

/** Ends the process with a status; what there is to say has been said. */
export class ShellExit extends Data.TaggedError("ShellExit")<{ readonly status: ExitStatus }> {
  override readonly [Runtime.errorExitCode] = this.status
  override readonly [Runtime.errorReported] = false
}

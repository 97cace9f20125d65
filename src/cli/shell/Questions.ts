/**
 * Asking the person at the terminal for what a command still needs. In scripts there is nobody: what is missing is then
 * a usage error, never a wait.
 */
import { Context, Effect, Layer, Redacted } from "effect"
import { UsageError } from "./Failure.ts"

export class Questions extends Context.Service<Questions, {
  /** True when a person is there to answer. */
  readonly attended: boolean
  readonly text: (what: string) => Effect.Effect<string, UsageError>
  /** Read without echo, and in no history. */
  readonly secret: (what: string) => Effect.Effect<Redacted.Redacted, UsageError>
  /** Anything but a clear yes is a no. */
  readonly confirm: (question: string) => Effect.Effect<boolean>
}>()("fip/cli/shell/Questions") {
  static readonly layerUnattended = Layer.succeed(
    Questions,
    Questions.of({
      attended: false,
      text: (what) => Effect.fail(missing(what)),
      secret: (what) => Effect.fail(missing(what)),
      confirm: () => Effect.succeed(false)
    })
  )
}

/** The failure when nobody says what a command needs. */
export const missing = (what: string): UsageError =>
  new UsageError({ message: `the ${what} is missing, and nobody is there to ask` })

/** A password that is being chosen: asked for twice where it was not given. */
export const newSecret = Effect.fnUntraced(function*(given: Redacted.Redacted | undefined, what: string) {
  if (given !== undefined) return given
  const questions = yield* Questions
  const first = yield* questions.secret(what)
  const second = yield* questions.secret(`${what} again`)
  if (Redacted.value(first) !== Redacted.value(second)) {
    return yield* new UsageError({ message: "the two passwords differ" })
  }
  return first
})

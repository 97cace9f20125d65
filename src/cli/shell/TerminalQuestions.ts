/**
 * Questions of a program that is no shell: asked at the terminal, if one is there, and only then is it taken over. What
 * comes in by a pipe is content and never an answer.
 */
import { Effect, Layer, Option } from "effect"
import { LineReader } from "./LineReader.ts"
import { Questions } from "./Questions.ts"

/** Takes the terminal for one question. Ctrl-C ends what asks. */
const asking = <A, E>(ask: (questions: Questions["Service"]) => Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Layer.fresh(LineReader.layer({
      input: process.stdin,
      output: process.stderr,
      remembers: () => false,
      history: { lines: () => [], add: () => {} }
    })))
    return yield* Effect.gen(function*() {
      const reader = yield* LineReader
      return yield* reader.interruptible(ask(yield* Questions))
    }).pipe(Effect.provideContext(context))
  }).pipe(
    Effect.scoped,
    Effect.flatMap((answer) => Option.isSome(answer) ? Effect.succeed(answer.value) : Effect.interrupt)
  )

export const questionsAtTerminal: Layer.Layer<Questions> = Layer.suspend(() =>
  process.stdin.isTTY === true && process.stderr.isTTY === true
    ? Layer.succeed(
      Questions,
      Questions.of({
        attended: true,
        text: (what) => asking((questions) => questions.text(what)),
        secret: (what) => asking((questions) => questions.secret(what)),
        confirm: (question) => asking((questions) => questions.confirm(question))
      })
    )
    : Questions.layerUnattended
)

/** How far a long command has got: one line on standard error, when that is a terminal, and gone when it ends. */
import { Effect } from "effect"
import type { AdminProgress } from "../../server/admin/Wire.ts"
import { Output } from "../shell/Output.ts"

export type OnProgress = (progress: AdminProgress) => void

const CLEAR_LINE = "\r\u001b[K"

const describe = ({ doing, done, of }: AdminProgress): string =>
  of === undefined
    ? `${doing}: ${done}`
    : `${doing}: ${done} of ${of} (${of === 0 ? 100 : Math.floor((done / of) * 100)}%)`

/** Runs a command with what it reports shown. */
export const withProgress = Effect.fnUntraced(function*<A, E, R>(
  run: (onProgress: OnProgress) => Effect.Effect<A, E, R>
) {
  const output = yield* Output
  if (!output.stderrIsTerminal) return yield* run(() => {})
  let latest: AdminProgress | undefined
  const draw = Effect.gen(function*() {
    if (latest === undefined) return
    const columns = yield* output.columns
    yield* output.note(CLEAR_LINE + describe(latest).slice(0, columns - 1))
  })
  const shown = run((progress) => {
    latest = progress
  })
  return yield* Effect.raceFirst(shown, Effect.forever(Effect.andThen(Effect.sleep("100 millis"), draw))).pipe(
    Effect.ensuring(output.note(CLEAR_LINE))
  )
})

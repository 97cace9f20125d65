/**
 * What a command came to, told to whoever runs it: for people, results on standard output and messages on standard
 * error; with `--json`, one object on one line of standard output and nothing else.
 */
import { Context, Effect } from "effect"
import type { Failure } from "./Failure.ts"
import { Output } from "./Output.ts"
import { printable, printableJson, printableLine } from "./printable.ts"

/** What a command that worked has to say. */
export interface Outcome {
  /** A `1:` code of the wire; `local:ok` where the server had no part in it. */
  readonly code: string
  /** One sentence. People see it when there is no `text`. */
  readonly message: string
  /** The protocol's result, as `--json` shows it. */
  readonly result: object
  /** What people see on standard output; empty when the command has written it already. */
  readonly text?: string
}

/** How results are shown: `--json` or for people. */
export const JsonMode = Context.Reference<boolean>("fip/cli/shell/JsonMode", { defaultValue: () => false })

const writeJson = Effect.fnUntraced(function*(value: object) {
  const output = yield* Output
  yield* output.write(`${printableJson(JSON.stringify(value))}\n`)
})

export const reportOutcome = Effect.fnUntraced(function*(command: string, outcome: Outcome) {
  const { code, message, result, text } = outcome
  if (yield* JsonMode) return yield* writeJson({ command, ok: true, code, message, result })
  const output = yield* Output
  if (text === undefined) return yield* output.note(`${printableLine(message)}\n`)
  if (text !== "") yield* output.write(`${printable(text)}\n`)
})

export const reportFailure = Effect.fnUntraced(function*(command: string, failure: Failure) {
  const { status: _, ...said } = failure
  if (yield* JsonMode) return yield* writeJson({ command, ok: false, ...said })
  const { code, message, request_id } = said
  const output = yield* Output
  const source = code.startsWith("local:")
    ? ""
    : ` (${code}${request_id === undefined ? "" : `, request ${printableLine(request_id)}`})`
  const name = `${command}:`
  yield* output.note(
    `${output.colors ? `\u001b[31m${printableLine(name)}\u001b[0m` : printableLine(name)} ${
      printableLine(message)
    }${source}\n`
  )
})

/** A warning or a notice, on standard error in every mode. */
export const note = Effect.fnUntraced(function*(message: string) {
  const output = yield* Output
  yield* output.note(`${printableLine(message)}\n`)
})

/**
 * What becomes of files that are there already. Times are compared in milliseconds: of a file of the server, when its
 * content was last changed where it came from, or else when it was stored.
 */
import { Effect } from "effect"
import { Flag } from "effect/cli"
import type { FileInfo } from "../../protocol/Request.ts"
import { UsageError } from "./Failure.ts"
import type { LocalFile } from "./localTree.ts"
import { Questions } from "./Questions.ts"

export type Overwrite = "never" | "older" | "always" | "ask"

export const overwriteFlag = Flag.Literals("overwrite", ["never", "older", "always", "ask"]).pipe(
  Flag.withDescription("files that are there: leave them, replace older ones, replace all (the default), or ask"),
  Flag.withDefault<Overwrite>("always")
)

/** A file that would take the place of another. */
export interface Conflict {
  /** What would be replaced, as people name it. */
  readonly target: string
  /** When the two were last changed, in milliseconds since 1970. */
  readonly sourceTime: number
  readonly targetTime: number
}

export const timeOf = ({ attributes, modified_at }: FileInfo): number =>
  attributes?.modified_ms ?? Date.parse(modified_at)

export const localTimeOf = ({ attributes }: Pick<LocalFile, "attributes">): number => attributes.modified_ms ?? 0

const ANSWERS: Readonly<Record<string, "yes" | "no" | "all" | "none">> = {
  y: "yes",
  yes: "yes",
  n: "no",
  no: "no",
  a: "all",
  all: "all",
  always: "all",
  none: "none",
  never: "none"
}

/** Asks until the answer is one. */
const ask = Effect.fnUntraced(function*(target: string) {
  const questions = yield* Questions
  let question = `replace ${target}? (yes, no, all, none)`
  for (;;) {
    const text = yield* questions.text(question)
    const answer = ANSWERS[text.trim().toLowerCase()]
    if (answer !== undefined) return answer
    question = `yes, no, all or none: replace ${target}?`
  }
})

/** Decides, file by file, whether one is replaced. */
export const makeOverwrite = Effect.fnUntraced(function*(overwrite: Overwrite) {
  const questions = yield* Questions
  if (overwrite === "ask" && !questions.attended) {
    return yield* new UsageError({ message: "--overwrite ask needs a terminal: say never, older or always" })
  }
  let forAll: boolean | undefined
  return Effect.fnUntraced(function*({ sourceTime, target, targetTime }: Conflict) {
    if (overwrite !== "ask") return overwrite === "always" || (overwrite === "older" && targetTime < sourceTime)
    if (forAll !== undefined) return forAll
    const answer = yield* Effect.provideService(ask(target), Questions, questions)
    if (answer === "all" || answer === "none") forAll = answer === "all"
    return answer === "yes" || answer === "all"
  })
})

/**
 * `npm run torture -- --points 1000 --seed 1 [--database postgres] [--minutes 60] [--keep folder]`: prints figures and how
 * it ended, in one line of JSON, whatever ends it. After `--minutes` no other point begins, and what is looked at after
 * the last one is. With `--keep` everything is kept in that new folder.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Exit } from "effect"
import { mkdirSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { type Figures, type PromiseBroken, torture } from "./Torture.ts"

const { values } = parseArgs({
  options: {
    points: { type: "string", default: "100" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    database: { type: "string", default: "embedded" },
    minutes: { type: "string" },
    keep: { type: "string" }
  }
})
const points = Number(values.points)
const seed = Number(values.seed)
const minutes = values.minutes === undefined ? undefined : Number(values.minutes)
const { database } = values
if (!Number.isSafeInteger(points) || points < 1 || !Number.isSafeInteger(seed)) {
  console.error("--points and --seed are whole numbers")
  process.exit(2)
}
if (minutes !== undefined && !(minutes > 0)) {
  console.error("--minutes is a number")
  process.exit(2)
}
if (database !== "embedded" && database !== "postgres") {
  console.error("--database is embedded or postgres")
  process.exit(2)
}
const folder = values.keep === undefined ? undefined : resolve(values.keep)
if (folder !== undefined) mkdirSync(folder)

const begun = Date.now()
const seconds = () => Math.round((Date.now() - begun) / 1000)
let last: Figures | undefined
const onPoint = (figures: Figures) => {
  last = figures
  if (figures.points % 10 === 0) console.error(`${figures.points} of ${points} points, ${seconds()} s`)
}

const line = (ended: string, figures = last) =>
  JSON.stringify({ ended, database, seed, of: points, ...figures, seconds: seconds() })
const said = (ended: string, figures = last) => Console.log(line(ended, figures))

// A process that cannot be started, for one: not the server's fault, and the end of the run all the same.
process.once("uncaughtException", (error) => {
  console.log(line("broken off"))
  console.error(error)
  process.exit(1)
})

/** A failure that nobody foresaw is one, too. */
const report = (exit: Exit.Exit<Figures, PromiseBroken>) => {
  if (Exit.isSuccess(exit)) return said(exit.value.points < points ? "in time" : "well", exit.value)
  if (Exit.hasInterrupts(exit)) return said("interrupted")
  return Effect.andThen(
    said("badly"),
    Console.error(
      `failed ${
        last?.points === points ? "after the last point" : `at point ${(last?.points ?? 0) + 1}`
      }. Again: npm run torture -- --points ${points} --seed ${seed} ` +
        `--database ${database}`
    )
  )
}

// Also when it is interrupted, everything that it started ends.
torture({ points, minutes, seed, database, folder, onPoint }).pipe(Effect.onExit(report), NodeRuntime.runMain)

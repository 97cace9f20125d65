/** `npm run torture -- --points 1000 --seed 1 [--database postgres]`: prints the figures, or what was wrong. */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { parseArgs } from "node:util"
import { torture } from "./Torture.ts"

const { values } = parseArgs({
  options: {
    points: { type: "string", default: "100" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    database: { type: "string", default: "embedded" }
  }
})
const points = Number(values.points)
const seed = Number(values.seed)
const { database } = values
if (!Number.isSafeInteger(points) || points < 1 || !Number.isSafeInteger(seed)) {
  console.error("--points and --seed are whole numbers")
  process.exit(2)
}
if (database !== "embedded" && database !== "postgres") {
  console.error("--database is embedded or postgres")
  process.exit(2)
}

const begun = Date.now()
const seconds = () => Math.round((Date.now() - begun) / 1000)
let passed = 0
const onPoint = (point: number) => {
  passed = point
  if (point % 10 === 0) console.error(`${point} of ${points} points, ${seconds()} s`)
}

// Also when it is interrupted, everything that it started ends.
torture({ points, seed, database, onPoint }).pipe(
  Effect.flatMap((figures) => Console.log(JSON.stringify({ database, seed, ...figures, seconds: seconds() }))),
  Effect.tapError(() =>
    Console.error(
      `failed after ${passed} points. Again: npm run torture -- --points ${points} --seed ${seed} --database ${database}`
    )
  ),
  NodeRuntime.runMain
)

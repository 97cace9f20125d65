import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { torture } from "./Torture.ts"

const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)

for (const [database, points] of [["embedded", 10], ["postgres", 20]] as const) {
  it.live(
    `keeps every promise while everything is killed ${points} times, on the ${database} database (seed ${SEED})`,
    () =>
      Effect.gen(function*() {
        const figures = yield* torture({ points, seed: SEED, database, onPoint: () => {} })
        assert.strictEqual(figures.points, points)
        assert.isAtLeast(figures.acknowledged, 10 * points)
        assert.isAtLeast(figures.unanswered, points)
        assert.isAtLeast(figures.serverKills + figures.databaseKills, points)
        assert.isAtLeast(figures.resumed, 1)
        assert.isAtLeast(figures.segmentsRemoved, 1)
        assert.isAtLeast(figures.fscks, 1)
      }),
    600_000
  )
}

/**
 * Sharing against a model that is too simple to be wrong (permissions/SharingModel.ts): grants on files and folders,
 * revokes, publicity, transfers, renames, new and deleted files, locks, bans and the clock, from random states on.
 *
 *     FIP_TEST_HISTORIES=100000 npx vitest run test/server/Permissions.model.test.ts     # FIP_TEST_SEED=n for others
 *
 * The run of continuous integration is on PGlite; a long one is on PostgreSQL, which is faster at many things at once.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Random } from "../support/Random.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { runHistories } from "./permissions/histories.ts"
import { layer } from "./permissions/sharedStore.ts"

const HISTORIES = Number(process.env["FIP_TEST_HISTORIES"] ?? 300)
const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)
const AT_ONCE = 100
const SAY_EVERY = 5000

it.layer(Layer.provideMerge(layer, HISTORIES > 1000 ? TestDatabase.postgres : TestDatabase.pglite))(
  "Sharing, against a model",
  (it) => {
    it.effect("no history gives anybody more or less than it should", () =>
      Effect.gen(function*() {
        const random = new Random(SEED)
        let attempts = 0
        for (let from = 0; from < HISTORIES; from += AT_ONCE) {
          attempts += yield* runHistories(random.split(), from, Math.min(AT_ONCE, HISTORIES - from))
          if (from > 0 && from % SAY_EVERY === 0) process.stderr.write(`${from} histories\n`)
        }
        assert.isAtLeast(attempts, HISTORIES)
      }), HISTORIES * 200 + 60_000)
  }
)

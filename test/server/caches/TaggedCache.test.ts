/** Random use of the cache against a model that keeps a list. */
import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import { TaggedCache } from "../../../src/server/caches/TaggedCache.ts"

const BOUNDS = { maxEntries: 4, maxBytes: 4 * 256 + 300, timeToLive: 10 }

const key = fc.constantFrom("a", "b", "c", "d", "e", "f")
const tags = fc.uniqueArray(fc.constantFrom("x", "y", "z"), { maxLength: 3 })
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("set" as const), key, tags, bytes: fc.nat(200) }) },
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("get" as const), key }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("drop" as const), tag: fc.constantFrom("x", "y", "z") }) },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("wait" as const), millis: fc.nat(6) }) }
)

it("keeps what was used last within its bounds, until it is old or one of its tags is dropped", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = new TaggedCache<number>(BOUNDS)
      let model: ReadonlyArray<
        { key: string; value: number; tags: ReadonlyArray<string>; cost: number; until: number }
      > = []
      let now = 0
      let hits = 0
      const cost = () => model.reduce((sum, entry) => sum + entry.cost, 0)
      for (const [value, step] of steps.entries()) {
        if (step._tag === "wait") now += step.millis
        else if (step._tag === "drop") {
          cache.drop(step.tag)
          model = model.filter((entry) => !entry.tags.includes(step.tag))
        } else if (step._tag === "set") {
          cache.set(step.key, value, step.tags, step.bytes, now)
          model = model.filter((entry) => entry.key !== step.key)
          while (model.length >= BOUNDS.maxEntries || cost() + step.bytes + 256 > BOUNDS.maxBytes) {
            model = model.slice(1)
          }
          model = [...model, { ...step, value, cost: step.bytes + 256, until: now + BOUNDS.timeToLive }]
        } else {
          const found = model.find((entry) => entry.key === step.key)
          const isThere = found !== undefined && found.until > now
          assert.strictEqual(cache.get(step.key, now), isThere ? found.value : undefined)
          model = model.filter((entry) => entry !== found)
          if (found !== undefined && isThere) {
            model = [...model, found]
            hits++
          }
        }
        assert.strictEqual(cache.size, model.length)
        assert.strictEqual(cache.bytes, cost())
      }
      assert.strictEqual(cache.hits, hits)
    }),
    { numRuns: 2000 }
  )
})

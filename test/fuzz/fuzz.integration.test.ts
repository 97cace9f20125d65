/** The fuzzers of `npm run fuzz`, small; what they found once is tried again each time. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { fuzzParser } from "./parserFuzz.ts"
import { fuzzServer } from "./serverFuzz.ts"

const SEED = Number(process.env["FIP_TEST_SEED"] ?? 1)

it("mutated messages come out of the parser as the document reads them, however they are cut", () => {
  const { faults, skipped, whole } = fuzzParser({ messages: 6000, seed: SEED })
  assert.isAbove(faults, 50)
  assert.isAbove(skipped, 500)
  assert.isAbove(whole, 2000)
})

it.live(`mutated messages leave a server as it was (seed ${SEED})`, () =>
  Effect.promise(async () => {
    const { codes, memory, replies } = await fuzzServer({ messages: 4000, seed: SEED })
    assert.isAbove(replies, 2000)
    assert.isAbove(Object.keys(codes).length, 12)
    assert.isBelow(memory.last, 500)
  }), 120_000)

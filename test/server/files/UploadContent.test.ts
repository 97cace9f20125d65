import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { checksumsOf } from "../../../src/platform/Checksum.ts"
import { UploadContent } from "../../../src/server/files/UploadContent.ts"
import { Random } from "../../support/Random.ts"

const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Where the parts of an upload end, and in which order they come, each after so many writes that fail. */
const uploads = fc.tuple(
  fc.integer({ min: 1, max: 300_000 }),
  fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 8 }),
  fc.array(fc.tuple(fc.nat(), fc.nat({ max: 2 })), { minLength: 9, maxLength: 9 })
)

it("has the checksums and the hash of what was written, whatever the order of the parts and however many writes fail", () =>
  fc.assert(
    fc.asyncProperty(uploads, async ([size, cuts, order]) => {
      const random = new Random(size)
      const bytes = random.bytes(size)
      const written = Buffer.alloc(size)
      const readBack = (from: number, to: number) => Promise.resolve(written.subarray(from, to))
      const content = new UploadContent()
      const ends = [...new Set([...cuts.filter((cut) => cut < size), size])].sort((a, b) => a - b)
      const parts = ends.map((end, index) => ({ from: ends[index - 1] ?? 0, to: end, order: order[index] ?? [0, 0] }))
      for (const { from, order: [, failures], to } of parts.toSorted((a, b) => a.order[0] - b.order[0])) {
        for (let failed = 0; failed < failures; failed++) {
          // The next attempt need not be of the same bytes.
          content.compute(from, [random.bytes(to - from)])
          content.forget(from, to)
        }
        const middle = from + random.below(to - from)
        content.compute(from, [bytes.subarray(from, middle), bytes.subarray(middle, to)])
        bytes.copy(written, from, from, to)
        content.arrived(from, to)
        await content.catchUp(to - from, readBack)
      }
      assert.deepStrictEqual(content.received.all, [[0, size]])
      assert.deepStrictEqual(await content.complete(size, readBack), checksumsOf([bytes], size))
      assert.strictEqual(await content.sha256(size, readBack), sha256Of(bytes))
    }),
    { numRuns: 60 }
  ))

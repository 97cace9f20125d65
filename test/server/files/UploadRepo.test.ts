import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { BLOCK_BYTES } from "../../../src/platform/Checksum.ts"
import { UploadId } from "../../../src/protocol/Identity.ts"
import { SegmentId } from "../../../src/server/files/Extent.ts"
import { UploadRepo } from "../../../src/server/files/UploadRepo.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

/** A run from the beginning on. */
const run = (blocks: number) => ({
  position: 0,
  length: blocks * BLOCK_BYTES,
  checksums: new Uint8Array(Array.from({ length: 4 * blocks }, (_, index) => index))
})

it.layer(UploadRepo.layer.pipe(Layer.provideMerge(TestDatabase.pglite)), { timeout: 60_000 })((it) => {
  it.effect("takes note of what it has noted before: whoever asked may not have heard that it was done", () =>
    Effect.gen(function*() {
      const repo = yield* UploadRepo
      const { userId, username: owner } = yield* Storage.newUser()
      const uploadId = UploadId.make(randomUUID())
      const expiresAt = new Date()
      yield* repo.insert({
        uploadId,
        userId,
        ownerId: userId,
        owner,
        name: Storage.name("a"),
        mode: "write",
        size: undefined,
        position: undefined,
        expected: undefined,
        segment: SegmentId(randomUUID()),
        attributes: {}
      }, expiresAt)
      for (const blocks of [2, 2, 3, 1]) yield* repo.save(uploadId, [run(blocks)], expiresAt)
      assert.deepStrictEqual((yield* repo.find(uploadId, userId))?.runs, [run(3)])
    }))
})

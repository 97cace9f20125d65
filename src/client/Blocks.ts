/**
 * Content to send, cut into the blocks that travel in one message each.
 *
 * A block is full unless it is the last. It belongs to whoever took it until `release`, so a source may use its memory
 * again; a source that cannot do that ignores `release`.
 */
import { Effect, Pull, type Scope, Stream } from "effect"
import { MAX_DATA_BYTES } from "../protocol/Limits.ts"
import type { TransferError } from "./ClientError.ts"

export interface Blocks {
  /** Bytes in all, where that is known beforehand. */
  readonly size: number | undefined
  /** The next block; `undefined` after the last. */
  readonly next: Effect.Effect<Uint8Array | undefined, TransferError>
  readonly release: (block: Uint8Array) => void
}

const ignore = () => {}

/** Bytes that are in memory, as views. */
export const ofBytes = (bytes: Uint8Array): Blocks => {
  let at = 0
  return {
    size: bytes.length,
    next: Effect.sync(() => {
      if (at === bytes.length) return undefined
      const block = bytes.subarray(at, at + MAX_DATA_BYTES)
      at += block.length
      return block
    }),
    release: ignore
  }
}

/** A stream of any length, gathered into blocks of its own: chunks may be of any size, and be used again. */
export const ofStream = Effect.fnUntraced(function*(
  content: Stream.Stream<Uint8Array, TransferError>
): Effect.fn.Return<Blocks, never, Scope.Scope> {
  const pull = yield* Stream.toPull(content)
  const free: Array<Uint8Array> = []
  let chunks: ReadonlyArray<Uint8Array> = []
  let index = 0
  let offset = 0
  let ended = false

  const fill = (block: Uint8Array, filled: number): Effect.Effect<Uint8Array | undefined, TransferError> => {
    let at = filled
    while (at < block.length) {
      const chunk = chunks[index]
      if (chunk === undefined) break
      const part = chunk.subarray(offset, offset + block.length - at)
      block.set(part, at)
      at += part.length
      offset += part.length
      if (offset === chunk.length) {
        index += 1
        offset = 0
      }
    }
    if (at === block.length) return Effect.succeed(block)
    if (ended) return Effect.succeed(at === 0 ? undefined : block.subarray(0, at))
    return Pull.matchEffect(pull, {
      onSuccess: (next) => {
        chunks = next
        index = 0
        return fill(block, at)
      },
      onFailure: Effect.failCause,
      onDone: () => {
        ended = true
        return fill(block, at)
      }
    })
  }

  return {
    size: undefined,
    next: Effect.suspend(() => fill(free.pop() ?? Buffer.allocUnsafeSlow(MAX_DATA_BYTES), 0)),
    release: (block) => {
      if (block.length === MAX_DATA_BYTES) free.push(block)
    }
  }
})

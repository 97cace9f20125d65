/**
 * Content compressed for its way over the wire (docs/protocol.md, section 2.6): one zstd frame for each message, so that
 * none says anything of another, and what it comes to is known, and bounded, before any of it is made.
 */
import { constants, zstdCompress, zstdDecompressSync } from "node:zlib"

/** Less is not worth the work. */
const MIN_BYTES = 1024

/** What saves less than a tenth goes as it is. */
const WORTH = 0.9

/** So many messages go as they are, at most, before compressing is tried again. */
const MAX_SKIPPED = 16

/** A frame needs no more memory than the largest message has. */
const WINDOW_LOG = 20

const COMPRESSING = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_windowLog]: WINDOW_LOG
}
const EXPANDING = { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG }

/** Of all transfers of a process together: those who wait for the disk need threads, too. */
const MAX_AT_ONCE = 2
/** What would wait behind so many goes as it is. */
const MAX_WAITING = 64
let atOnce = 0
const waiting: Array<() => void> = []

const leave = (): void => {
  const next = waiting.shift()
  if (next === undefined) atOnce -= 1
  else next()
}

const compress = (bytes: Uint8Array): Promise<Uint8Array | undefined> =>
  new Promise((resolve) => {
    // A result of this size is of no use, so no more room is made for it at once.
    const chunkSize = Math.max(1024, Math.floor(bytes.length * WORTH))
    zstdCompress(bytes, { params: COMPRESSING, chunkSize }, (error, compressed) => {
      leave()
      resolve(error === null && compressed.length <= bytes.length * WORTH ? compressed : undefined)
    })
  })

/** Compresses one stream of content, and does not try for long what does not shrink. */
export class Compressor {
  private skipping = 0
  private skipped = 1

  /** The content in fewer bytes; `undefined` where it is to go as it is. It must not change meanwhile. */
  shrink(content: Uint8Array): Promise<Uint8Array | undefined> | undefined {
    if (content.length < MIN_BYTES || this.skips()) return undefined
    if (atOnce < MAX_AT_ONCE) {
      atOnce += 1
      return this.attempt(content)
    }
    if (waiting.length >= MAX_WAITING) return undefined
    return new Promise<void>((resolve) => waiting.push(resolve)).then(() => {
      if (!this.skips()) return this.attempt(content)
      leave()
      return undefined
    })
  }

  private skips(): boolean {
    if (this.skipping === 0) return false
    this.skipping -= 1
    return true
  }

  private attempt(content: Uint8Array): Promise<Uint8Array | undefined> {
    return compress(content).then((compressed) => {
      this.skipped = compressed === undefined ? Math.min(MAX_SKIPPED, 2 * this.skipped) : 1
      this.skipping = compressed === undefined ? this.skipped : 0
      return compressed
    })
  }
}

/** The content of `length` bytes that these are; `undefined` when they are none. */
export const expand = (compressed: ReadonlyArray<Uint8Array>, length: number): Uint8Array | undefined => {
  const [first] = compressed
  const bytes = first !== undefined && compressed.length === 1 ? first : Buffer.concat(compressed)
  try {
    const content = zstdDecompressSync(bytes, {
      params: EXPANDING,
      maxOutputLength: length,
      chunkSize: Math.max(64, length)
    })
    return content.length === length ? content : undefined
  } catch {
    return undefined
  }
}

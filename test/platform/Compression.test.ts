/** What a message may cost whoever expands it, whatever it says of itself, and what a sender tries no longer. */
import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { buffer } from "node:stream/consumers"
import { promisify } from "node:util"
import { constants, createZstdCompress, zstdCompressSync } from "node:zlib"
import { Compressor, expand } from "../../src/platform/Compression.ts"

const MiB = 1024 * 1024

/** Expands, in a process of its own, what is to be one MiB; by how much it grows, in MiB. */
const BOMB = `
const { expand } = await import(process.argv[1])
const bomb = Buffer.from(process.argv[2], "base64")
const before = process.resourceUsage().maxRSS
const content = expand([bomb], 1024 * 1024)
console.log(content === undefined, Math.round((process.resourceUsage().maxRSS - before) / 1024))
`

/** A frame of 1000 bytes that asks for so much memory: its length is not known when it begins. */
const frameOf = async (window: number) => {
  const stream = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: window } })
  const written = buffer(stream)
  stream.write(Buffer.alloc(1000, "a"))
  stream.flush(() => stream.end())
  await once(stream, "end")
  return await written
}

describe("expanding", () => {
  it("takes no more room than the content that was announced", async () => {
    const module = new URL("../../src/platform/Compression.ts", import.meta.url).href
    const bomb = zstdCompressSync(Buffer.alloc(512 * MiB), { params: { [constants.ZSTD_c_windowLog]: 20 } }).toString(
      "base64"
    )
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", BOMB, module, bomb])
    const [isRefused, grown] = stdout.trim().split(" ")
    assert.strictEqual(isRefused, "true")
    assert.isBelow(Number(grown), 128)
  })

  it("refuses a frame that asks for more memory than a message has", async () => {
    assert.strictEqual(expand([await frameOf(20)], 1000)?.length, 1000)
    assert.isUndefined(expand([await frameOf(24)], 1000))
  })

  it("gives what was compressed, in however many pieces it comes", () => {
    const content = Buffer.alloc(MiB, "content")
    const compressed = zstdCompressSync(content)
    const pieces = Array.from(compressed, (_, at) => compressed.subarray(at, at + 1))
    assert.isTrue(content.equals(expand(pieces, MiB) ?? Buffer.alloc(0)))
    assert.isUndefined(expand([], 1))
  })
})

describe("a compressor", () => {
  it("leaves alone what does not shrink, longer each time, and tries again", async () => {
    const compressor = new Compressor()
    const noise = randomBytes(4096)
    const tried: Array<number> = []
    for (let index = 0; index < 70; index++) {
      const attempt = compressor.shrink(noise)
      if (attempt === undefined) continue
      tried.push(index)
      assert.isUndefined(await attempt)
    }
    assert.deepStrictEqual(tried, [0, 3, 8, 17, 34, 51, 68])
  })

  it("lets what would wait too long go as it is", async () => {
    const content = Buffer.alloc(MiB, "content")
    const attempts = Array.from({ length: 100 }, () => new Compressor().shrink(content))
    const tried = attempts.filter((attempt) => attempt !== undefined)
    // Two are worked on, and 64 wait.
    assert.lengthOf(tried, 66)
    for (const compressed of await Promise.all(tried)) assert.isBelow(compressed?.length ?? MiB, 1000)
  })
})

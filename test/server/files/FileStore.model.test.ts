import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { Sha256 } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { UploadMode, Written } from "../../../src/protocol/Request.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Disk } from "../../../src/server/files/Disk.ts"
import { Reclaimer } from "../../../src/server/files/Reclaimer.ts"
import { FileStore } from "../../../src/server/FileStore.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import * as Storage from "./Storage.ts"

const NAMES = ["a", "b", "docs/c", "docs/δ/日本.txt"].map(Storage.name)
const BYTES_LIMIT = 400_000
const FILES_LIMIT = 3

// --- the model: what a person would say that the store does ----------------------------------------------------------

interface ModelFile {
  /** In the order in which files were made. */
  readonly id: number
  readonly name: string
  readonly versions: Array<Buffer>
}
type Answer = { readonly code: string } | { readonly size: number; readonly version: number }

class Model {
  readonly files = new Map<string, ModelFile>()
  readonly deleted: Array<ModelFile> = []
  private made = 0

  get bytes(): number {
    return [...this.files.values()].reduce((sum, file) => sum + (file.versions.at(-1)?.length ?? 0), 0)
  }

  store(name: string, mode: UploadMode, content: Buffer, position: number, expected: number | undefined): Answer {
    const file = this.files.get(name)
    if (file === undefined) {
      if (mode !== "create" && (mode !== "write" || expected !== undefined)) return { code: "2:nf" }
      if (this.files.size + 1 > FILES_LIMIT) return { code: "2:fof" }
      if (content.length > 0 && this.bytes + content.length > BYTES_LIMIT) return { code: "2:quota" }
      this.files.set(name, { id: this.made++, name, versions: [content] })
      return { size: content.length, version: 1 }
    }
    if (mode === "create") return { code: "2:cnf" }
    const conflict = this.conflict(file, expected)
    if (conflict !== undefined) return conflict
    const current = file.versions.at(-1) ?? Buffer.alloc(0)
    if (mode === "patch" && position > current.length) return { code: "2:ibv" }
    const at = mode === "append" ? current.length : mode === "patch" ? position : 0
    return this.change(
      file,
      mode === "write" || mode === "replace"
        ? content
        : Buffer.concat([current.subarray(0, at), content, current.subarray(at + content.length)])
    )
  }

  private conflict(file: ModelFile, expected: number | undefined): Answer | undefined {
    return expected === undefined || expected === file.versions.length ? undefined : { code: "2:vcf" }
  }

  private change(file: ModelFile, content: Buffer): Answer {
    const growth = content.length - (file.versions.at(-1)?.length ?? 0)
    if (growth > 0 && this.bytes + growth > BYTES_LIMIT) return { code: "2:quota" }
    file.versions.push(content)
    return { size: content.length, version: file.versions.length }
  }

  delete(name: string): Answer {
    const file = this.files.get(name)
    if (file === undefined) return { code: "2:nf" }
    this.files.delete(name)
    this.deleted.push(file)
    return { size: 0, version: 0 }
  }

  /** The clock stands still: of those that were deleted at the same time, the one that was made last comes back. */
  undelete(name: string): Answer {
    if (this.files.has(name)) return { code: "2:cnf" }
    const file = this.deleted.filter((file) => file.name === name).toSorted((a, b) => b.id - a.id)[0]
    if (file === undefined) return { code: "2:nf" }
    const size = file.versions.at(-1)?.length ?? 0
    if (this.files.size + 1 > FILES_LIMIT) return { code: "2:fof" }
    if (size > 0 && this.bytes + size > BYTES_LIMIT) return { code: "2:quota" }
    this.deleted.splice(this.deleted.indexOf(file), 1)
    this.files.set(name, file)
    return { size, version: file.versions.length }
  }

  rename(name: string, newName: string): Answer {
    const file = this.files.get(name)
    if (file === undefined) return { code: "2:nf" }
    if (this.files.has(newName)) return { code: "2:cnf" }
    this.files.delete(name)
    this.files.set(newName, { ...file, name: newName })
    return { size: file.versions.at(-1)?.length ?? 0, version: file.versions.length }
  }

  copy(name: string, newName: string): Answer {
    const file = this.files.get(name)
    if (file === undefined) return { code: "2:nf" }
    if (this.files.has(newName)) return { code: "2:cnf" }
    return this.store(newName, "create", file.versions.at(-1) ?? Buffer.alloc(0), 0, undefined)
  }

  restore(name: string, version: number): Answer {
    const file = this.files.get(name)
    const content = file?.versions[version - 1]
    return file === undefined || content === undefined ? { code: "2:nf" } : this.change(file, content)
  }
}

// --- what is done to both ------------------------------------------------------------------------------------------

const content = fc.tuple(
  fc.oneof(
    { weight: 4, arbitrary: fc.nat(40) },
    { weight: 1, arbitrary: fc.constant(0) },
    { weight: 2, arbitrary: fc.integer({ min: 65_000, max: 66_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 131_000, max: 150_000 }) }
  ),
  fc.nat(1_000_000)
).map(([length, seed]) => Buffer.alloc(length, `content number ${seed}, `))
const file = fc.constantFrom(...NAMES)
// Not a double: most of those are next to nothing.
const fraction = fc.integer({ min: 0, max: 105 }).map((percent) => percent / 100)
/** Which version the caller expects, counted from the current one; mostly it does not say. */
const expected = fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat(1) })
const mode = fc.constantFrom<UploadMode>("create", "write", "replace", "append", "patch")

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("put" as const), file, mode, content, at: fraction, expected }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("upload" as const),
      file,
      mode,
      content,
      at: fraction,
      expected,
      cuts: fc.array(fraction, { maxLength: 4 }),
      order: fc.nat(1000),
      sizeKnown: fc.boolean(),
      reopenBefore: fc.integer({ min: -10, max: 3 })
    })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), file }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("rename" as const), file, to: file }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("copy" as const), file, to: file }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("restore" as const), file, back: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("undelete" as const), file }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("read" as const), file, from: fraction, to: fraction, back: fc.nat(3) })
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const) }) }
)
type Operation = typeof operation extends fc.Arbitrary<infer A> ? A : never

const sha256 = (content: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(content).digest("hex"))

const answerOf = <A>(effect: Effect.Effect<A, Refusal>, answer: (value: A) => Answer): Effect.Effect<Answer> =>
  Effect.match(effect, { onFailure: ({ code }): Answer => ({ code }), onSuccess: answer })
const answer = ({ size, version }: Written): Answer => ({ size, version })

/** Parts of `content` in some order, some of them twice. */
const partsOf = (length: number, { cuts, order }: { readonly cuts: ReadonlyArray<number>; readonly order: number }) => {
  const points = [0, ...cuts.map((cut) => Math.min(length, Math.floor(cut * length))), length].sort((a, b) => a - b)
  const parts = points.slice(1).map((end, index) => [points[index] ?? 0, end] as const).filter(([a, b]) => a < b)
  const shuffled = parts.toSorted(([a], [b]) => (a * 31 + order) % 97 - (b * 31 + order) % 97)
  return order % 3 === 0 ? [...shuffled, ...parts.slice(0, 1)] : shuffled
}

const check = Effect.fnUntraced(function*(operations: ReadonlyArray<Operation>, dataDir: string) {
  const database = yield* Effect.context<SqlClient>()
  const model = new Model()
  const caller: Caller = yield* Storage.newUser({ bytesLimit: BYTES_LIMIT, filesLimit: FILES_LIMIT })
  const disk = Layer.succeed(Disk, {
    ...yield* Disk,
    sync: () => Promise.resolve(),
    syncFolder: () => Promise.resolve()
  })

  let scope = yield* Scope.make()
  // More versions are kept than a sequence can make.
  const layer = Reclaimer.layer.pipe(
    Layer.provideMerge(Storage.layerIn(dataDir, { keepVersions: 100 })),
    Layer.provide([disk, Layer.succeedContext(database)])
  )
  const open = Effect.suspend(() => Layer.buildWithScope(layer, scope))
  let context = yield* open
  let files = Context.get(context, FileStore)
  let reclaimer = Context.get(context, Reclaimer)
  const reopen = Effect.gen(function*() {
    yield* Scope.close(scope, Exit.void)
    scope = yield* Scope.make()
    context = yield* open
    files = Context.get(context, FileStore)
    reclaimer = Context.get(context, Reclaimer)
  })
  const drain = (read: ReturnType<typeof files.read>) =>
    Effect.flatMap(read, ({ content }) => Effect.promise(() => Storage.drain(content)))

  const upload = Effect.fnUntraced(function*(
    step: Extract<Operation, { readonly do: "upload" }>,
    position: number,
    expected_version: number | undefined
  ) {
    const { content, file, mode, reopenBefore, sizeKnown } = step
    const { upload_id } = yield* files.uploadBegin(caller, {
      name: file,
      mode,
      position,
      ...(expected_version === undefined ? {} : { expected_version }),
      ...(sizeKnown ? { size: content.length } : {})
    })
    for (const [index, [from, to]] of partsOf(content.length, step).entries()) {
      if (index === reopenBefore) yield* reopen
      const part = content.subarray(from, to)
      yield* files.uploadPart(caller, { upload_id, offset: from }, Storage.inPieces(part, 30_000))
    }
    const commit = { upload_id, sha256: sha256(content) }
    const written = yield* files.uploadCommit(caller, commit)
    assert.deepStrictEqual(yield* files.uploadCommit(caller, commit), written)
    return written
  })

  for (const step of operations) {
    if (step.do === "reopen") {
      yield* reopen
      continue
    }
    if (step.do === "sweep") {
      // What is found by one is removed by the next.
      for (let round = 0; round < 2; round++) {
        yield* reclaimer.sweepVersions
        yield* reclaimer.sweepSegments
      }
      continue
    }
    const versions = model.files.get(step.file)?.versions ?? []
    const current = versions.at(-1) ?? Buffer.alloc(0)
    switch (step.do) {
      case "put":
      case "upload": {
        const position = Math.floor(step.at * current.length)
        const expected = step.expected === undefined ? undefined : Math.max(1, versions.length + step.expected)
        const body = {
          name: step.file,
          position,
          sha256: sha256(step.content),
          ...(expected === undefined ? {} : { expected_version: expected })
        }
        const real = step.do === "put"
          ? files[step.mode](caller, body, Storage.inPieces(step.content, 10_000))
          : upload(step, position, expected)
        const given = yield* answerOf(real, answer)
        // Create has no expected version: what is there is a conflict already.
        const wanted = model.store(
          step.file,
          step.mode,
          step.content,
          position,
          step.mode === "create" ? undefined : expected
        )
        assert.deepStrictEqual(given, wanted)
        break
      }
      case "delete":
        assert.deepStrictEqual(
          yield* answerOf(files.delete(caller, { name: step.file }), () => ({ size: 0, version: 0 })),
          model.delete(step.file)
        )
        break
      case "undelete":
        assert.deepStrictEqual(
          yield* answerOf(files.restore(caller, { name: step.file }), answer),
          model.undelete(step.file)
        )
        break
      case "rename":
      case "copy":
        assert.deepStrictEqual(
          yield* answerOf(files[step.do](caller, { name: step.file, new_name: step.to }), answer),
          model[step.do](step.file, step.to)
        )
        break
      case "restore": {
        const version = Math.max(1, versions.length - step.back)
        assert.deepStrictEqual(
          yield* answerOf(files.restore(caller, { name: step.file, version }), answer),
          model.restore(step.file, version)
        )
        break
      }
      case "read": {
        const version = Math.max(1, versions.length - step.back)
        const content = versions[version - 1]
        if (content === undefined) {
          assert.strictEqual((yield* Effect.flip(files.read(caller, { name: step.file, version }))).code, "2:nf")
          break
        }
        const position = Math.floor(step.from * content.length)
        const limit = Math.floor(step.to * content.length)
        const bytes = yield* drain(files.read(caller, { name: step.file, version, position, limit }))
        assert.isTrue(bytes.equals(content.subarray(position, position + limit)), "the bytes that were read")
      }
    }
    assert.deepStrictEqual(yield* Storage.usage(caller), { bytes: model.bytes, files: model.files.size })
  }

  yield* reopen
  const listed = yield* files.list(caller, { recursive: true })
  assert.sameMembers(listed.files.map(({ name }) => name), [...model.files.keys()])
  for (const { name } of listed.files) {
    const contents = model.files.get(name)?.versions ?? []
    for (const [index, content] of contents.entries()) {
      const read = yield* files.read(caller, { name, version: index + 1 })
      const bytes = yield* Effect.promise(() => Storage.drain(read.content))
      assert.isTrue(bytes.equals(content), `version ${index + 1} of ${name}`)
      assert.strictEqual(read.head.sha256 ?? read.content.sha256(), sha256(content))
    }
  }
  yield* Scope.close(scope, Exit.void)
}, Effect.scoped)

it.layer(TestDatabase.pglite, { timeout: 60_000 })((it) => {
  it.effect(
    "a file store does what a plain map of names to contents does, whatever is asked of it",
    () =>
      Effect.gen(function*() {
        const dataDir = yield* Storage.folder
        const run = Effect.runPromiseWith(yield* Effect.context<SqlClient>())
        yield* Effect.promise(() =>
          fc.assert(
            fc.asyncProperty(
              fc.array(operation, { minLength: 3, maxLength: 14, size: "max" }),
              (operations) => run(check(operations, dataDir))
            ),
            { numRuns: Number(process.env["FIP_TEST_RUNS"] ?? 100) }
          )
        )
      }),
    120_000
  )
})

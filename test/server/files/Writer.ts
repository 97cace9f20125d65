/**
 * A user who does things to files of their own, at random, one after the other, and knows what must be there: what was
 * acknowledged, or that and the one change that was never answered.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { createHash } from "node:crypto"
import { Sha256, type UploadId } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { UploadMode, Written } from "../../../src/protocol/Request.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import type { Random } from "../../support/Random.ts"
import type { Life } from "./Machine.ts"
import * as Storage from "./Storage.ts"

/** Contents by name, of every version from the first on. */
type Files = ReadonlyMap<string, ReadonlyArray<Buffer>>

const NAMES = ["a", "b", "docs/c", "docs/d"] as const

/** A file with so many versions is deleted rather than changed once more. */
const MAX_VERSIONS = 6

type Put = { readonly name: string; readonly mode: UploadMode; readonly content: Buffer; readonly position: number }
type Change =
  | { readonly do: "put" } & Put
  | { readonly do: "upload" } & Put
  | { readonly do: "delete"; readonly name: string }
  | { readonly do: "rename" | "copy"; readonly name: string; readonly to: string }
  | { readonly do: "restore"; readonly name: string; readonly version: number }

export const sha256 = (content: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(content).digest("hex"))

const currentOf = (files: Files, name: string): Buffer => files.get(name)?.at(-1) ?? Buffer.alloc(0)

/** What a change makes of the files. */
const after = (files: Files, change: Change): Files => {
  const next = new Map(files)
  const versions = files.get(change.name) ?? []
  switch (change.do) {
    case "put":
    case "upload": {
      const { content, mode } = change
      const current = currentOf(files, change.name)
      const at = mode === "append" ? current.length : change.position
      const whole = mode === "append" || mode === "patch"
        ? Buffer.concat([current.subarray(0, at), content, current.subarray(at + content.length)])
        : content
      return next.set(change.name, [...versions, whole])
    }
    case "delete":
      next.delete(change.name)
      return next
    case "rename":
      next.delete(change.name)
      return next.set(change.to, versions)
    case "copy":
      return next.set(change.to, [currentOf(files, change.name)])
    case "restore":
      return next.set(change.name, [...versions, versions[change.version - 1] ?? Buffer.alloc(0)])
  }
}

const isSame = (found: Files, files: Files): boolean =>
  found.size === files.size && [...found].every(([name, versions]) => {
    const known = files.get(name)
    return known !== undefined && known.length === versions.length &&
      versions.every((content, index) => known[index]?.equals(content) === true)
  })

const summary = (files: Files): string =>
  [...files].toSorted().map(([name, versions]) =>
    `${name}: ${versions.map((content) => `${content.length} bytes ${sha256(content).slice(0, 8)}`).join(", ")}`
  ).join("\n")

/** Everything that a user has. */
const contentsOf = Effect.fnUntraced(function*(life: Life, caller: Caller) {
  const found = new Map<string, ReadonlyArray<Buffer>>()
  for (const { name } of (yield* life.files.list(caller, { recursive: true })).files) {
    const { versions } = yield* life.files.queryVersions(caller, { name })
    found.set(
      name,
      yield* Effect.forEach(versions.toReversed(), ({ sha256: hash, version }) =>
        Effect.gen(function*() {
          const { content } = yield* life.files.read(caller, { name, version })
          const bytes = yield* Effect.promise(() => Storage.drain(content))
          if (hash !== undefined) assert.strictEqual(sha256(bytes), hash, `version ${version} of ${name}`)
          return bytes
        }))
    )
  }
  return found
})

export class Writer {
  private readonly caller: Caller
  private readonly random: Random
  /** What was acknowledged. */
  private files: Files = new Map()
  /** What is there if the change that was not answered was carried out all the same. */
  private unanswered: Files | undefined
  /** One that was begun and not committed. */
  private upload: { readonly id: UploadId; readonly change: Extract<Change, { do: "upload" }> } | undefined
  acknowledged = 0
  resumed = 0

  constructor(caller: Caller, random: Random) {
    this.caller = caller
    this.random = random
  }

  get bytes(): number {
    return [...this.files.values()].reduce((sum, versions) => sum + (versions.at(-1)?.length ?? 0), 0)
  }

  /** Does one thing. Fails with the refusal when it was refused. */
  readonly act = Effect.fnUntraced(function*(this: Writer, life: Life): Effect.fn.Return<void, Refusal> {
    const change = this.upload?.change ?? this.choose()
    if (change.do === "upload" && this.upload === undefined && this.random.chance(0.4)) {
      // It is finished by what this user does next, whoever serves them then.
      yield* this.send(life, change, Math.floor(change.content.length / 2))
      return
    }
    const next = after(this.files, change)
    this.unanswered = next
    const written: Partial<Written> = yield* this.perform(life, change)
    const name = "to" in change ? change.to : change.name
    const versions = next.get(name)
    assert.strictEqual(written.name, name)
    assert.strictEqual(written.version, versions?.length)
    assert.strictEqual(written.size, versions?.at(-1)?.length)
    this.acknowledge()
  })

  private acknowledge(): void {
    this.files = this.unanswered ?? this.files
    this.unanswered = undefined
    this.upload = undefined
    this.acknowledged++
  }

  /** The change that was under way was refused: it has had no effect, and an upload stays as it was. */
  refused(): void {
    this.unanswered = undefined
  }

  /** Gives up an upload that was begun. */
  forgetUpload(): void {
    this.upload = undefined
  }

  private content(): Buffer {
    const { random } = this
    const length = random.pick([() => random.below(600), () => random.below(9000), () => 60_000 + random.below(90_000)])
    return random.bytes(length())
  }

  private choose(): Change {
    const { files, random } = this
    const name = random.pick(NAMES)
    const versions = files.get(name)
    const to = NAMES.find((other) => !files.has(other))
    const doing = random.chance(0.25) ? "upload" : "put"
    if (versions === undefined) {
      return { do: doing, name, mode: random.pick(["create", "write"]), content: this.content(), position: 0 }
    }
    if (versions.length >= MAX_VERSIONS || random.chance(0.08)) return { do: "delete", name }
    if (to !== undefined && random.chance(0.15)) return { do: random.pick(["rename", "copy"]), name, to }
    if (random.chance(0.08)) return { do: "restore", name, version: 1 + random.below(versions.length) }
    const mode = random.pick<UploadMode>(["write", "replace", "append", "append", "patch", "patch"])
    const position = mode === "patch" ? random.below(currentOf(files, name).length + 1) : 0
    return { do: doing, name, mode, content: this.content(), position }
  }

  private perform(life: Life, change: Change) {
    const { caller } = this
    const name = Storage.name(change.name)
    switch (change.do) {
      case "put":
        return life.files[change.mode](
          caller,
          { name, position: change.position },
          Storage.inPieces(change.content, 4000)
        )
      case "upload":
        return Effect.flatMap(
          this.send(life, change, change.content.length),
          (upload_id) => life.files.uploadCommit(caller, { upload_id, sha256: sha256(change.content) })
        )
      case "delete":
        return life.files.delete(caller, { name })
      case "rename":
      case "copy":
        return life.files[change.do](caller, { name, new_name: Storage.name(change.to) })
      case "restore":
        return life.files.restore(caller, { name, version: change.version })
    }
  }

  /** Sends an upload up to `end`, or what is missing of the one that was begun: what the store has is not sent again. */
  private readonly send = Effect.fnUntraced(function*(
    this: Writer,
    life: Life,
    change: Extract<Change, { do: "upload" }>,
    end: number
  ): Effect.fn.Return<UploadId, Refusal> {
    const { caller, random } = this
    const { content, mode, position } = change
    const name = Storage.name(change.name)
    if (this.upload === undefined) {
      const begun = yield* life.files.uploadBegin(caller, { name, mode, position, size: content.length })
      this.upload = { id: begun.upload_id, change }
    } else {
      this.resumed++
    }
    const upload_id = this.upload.id
    const parts: Array<readonly [from: number, to: number]> = []
    let at = 0
    for (const [from, to] of (yield* life.files.uploadStatus(caller, upload_id)).received) {
      if (from > at) parts.push([at, from])
      at = to
    }
    if (at < end) parts.push([at, end])
    const halves = parts.flatMap(([from, to]): typeof parts => {
      const middle = from + 1 + random.below(to - from)
      return middle < to ? [[middle, to], [from, middle]] : [[from, to]]
    })
    yield* Effect.forEach(
      halves,
      ([from, to]) =>
        life.files.uploadPart(caller, { upload_id, offset: from }, Storage.inPieces(content.subarray(from, to), 4000)),
      { concurrency: 2, discard: true }
    )
    return upload_id
  })

  /** After a restart: finds out what became of the change that was not answered, and that nothing else is different. */
  readonly verify = Effect.fnUntraced(function*(this: Writer, life: Life): Effect.fn.Return<void, Refusal> {
    const found = yield* contentsOf(life, this.caller)
    if (this.unanswered !== undefined && isSame(found, this.unanswered)) {
      this.acknowledge()
    } else if (!isSame(found, this.files)) {
      const or = this.unanswered === undefined ? "" : `\nor\n${summary(this.unanswered)}`
      return assert.fail(`there is\n${summary(found)}\ninstead of\n${summary(this.files)}${or}`)
    }
    this.unanswered = undefined
    const usage = yield* Storage.usage(this.caller).pipe(Effect.provideService(SqlClient, life.sql))
    assert.deepStrictEqual(usage, { bytes: this.bytes, files: this.files.size })
  })
}

/**
 * A user who does things to files of their own, at random, one after the other, and knows what must be there: what was
 * acknowledged, or that and the one change that was never answered.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { UploadId } from "../../../src/protocol/Identity.ts"
import type { Refusal } from "../../../src/protocol/Refusal.ts"
import type { Written } from "../../../src/protocol/Request.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import {
  afterChange,
  type Change,
  chooseChange,
  type Files,
  isSame,
  sha256,
  summary,
  usageOf
} from "../../support/FileModel.ts"
import type { Random } from "../../support/Random.ts"
import type { Life } from "./Machine.ts"
import * as Storage from "./Storage.ts"

const lengthOf = (random: Random): number => random.below(random.pick([600, 9000, 150_000]))

/** Everything that a user has. */
const contentsOf = Effect.fnUntraced(function*(life: Life, caller: Caller) {
  const found = new Map<string, ReadonlyMap<number, Buffer>>()
  for (const { name } of (yield* life.files.list(caller, { recursive: true })).files) {
    const { versions } = yield* life.files.queryVersions(caller, { name })
    found.set(
      name,
      new Map(
        yield* Effect.forEach(versions, ({ sha256: hash, version }) =>
          Effect.gen(function*() {
            const { content } = yield* life.files.read(caller, { name, version })
            const bytes = yield* Effect.promise(() => Storage.drain(content))
            if (hash !== undefined) assert.strictEqual(sha256(bytes), hash, `version ${version} of ${name}`)
            return [version, bytes] as const
          }))
      )
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

  /** Does one thing. Fails with the refusal when it was refused. */
  readonly act = Effect.fnUntraced(function*(this: Writer, life: Life): Effect.fn.Return<void, Refusal> {
    const change = this.upload?.change ?? chooseChange(this.files, this.random, lengthOf)
    if (change.do === "upload" && this.upload === undefined && this.random.chance(0.4)) {
      // It is finished by what this user does next, whoever serves them then.
      yield* this.send(life, change, Math.floor(change.content.length / 2))
      return
    }
    const next = afterChange(this.files, change)
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

  /** Tells the store to give up the upload that was begun, and does not care whether it hears. */
  readonly abort = Effect.fnUntraced(function*(this: Writer, life: Life) {
    if (this.upload !== undefined) yield* Effect.ignore(life.files.uploadAbort(this.caller, this.upload.id))
    this.upload = undefined
  })

  /** Gives up an upload that was begun. */
  forgetUpload(): void {
    this.upload = undefined
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
    assert.deepStrictEqual(usage, usageOf(this.files))
  })
}

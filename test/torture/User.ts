/** A user whose clients and server are killed: what must be there, and a client that looks whether it is. */
import { Effect, ManagedRuntime, Redacted, Schedule, Stream } from "effect"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import { MAX_DATA_BYTES } from "../../src/protocol/Limits.ts"
import type { Written } from "../../src/protocol/Request.ts"
import {
  afterChange,
  type Change,
  chooseChange,
  currentOf,
  type Files,
  summary,
  usageOf
} from "../support/FileModel.ts"
import type { Random } from "../support/Random.ts"
import { type Order, type Outcome, PASSWORD } from "./crewProcess.ts"

const MiB = 1024 * 1024

/** Some uploads are too large for one request of the client library. */
const lengthOf = (random: Random, doing: "put" | "upload"): number =>
  doing === "put"
    ? random.below(random.pick([600, 9000, 9000, 120_000]))
    : random.chance(0.15)
    ? MiB + 1 + random.below(MiB)
    : 1 + random.below(random.pick([60_000, 300_000]))

/** An upload that was begun and whose answer nobody has seen. */
interface Unfinished {
  readonly change: Change
  /** `undefined`: the client library knows how to go on with it. */
  readonly upload: string | undefined
  /** It was found carried out: continuing it gives its answer and changes nothing. */
  readonly isDone: boolean
}

type Listed = ReadonlyMap<string, Pick<Written, "size" | "version">>

/** Every change makes another version of something, or another name. */
const isListed = (listed: Listed, files: Files): boolean =>
  listed.size === files.size && [...files].every(([name, versions]) => {
    const file = listed.get(name)
    return file?.version === versions.length && file.size === versions.at(-1)?.length
  })

/** The client compares what it reads with the hash that the server says, too. */
const read = (client: FipClientShape, name: string, version?: number) =>
  Effect.map(Stream.runCollect(client.read(name, { version })), (chunks) => Buffer.concat(chunks))

/** Compares every version that is kept; older ones may go at any time. */
const checkVersions = Effect.fnUntraced(function*(client: FipClientShape, name: string, known: ReadonlyArray<Buffer>) {
  for (const { current, version } of (yield* client.queryVersions(name)).versions) {
    const content = yield* read(client, name, version).pipe(
      Effect.catchIf(
        (error) => !current && error._tag === "Refusal" && error.code === "2:nf",
        () => Effect.void
      )
    )
    if (content !== undefined && known[version - 1]?.equals(content) !== true) {
      throw new Error(`version ${version} of ${name} has other content than it had`)
    }
  }
})

export class User {
  readonly name: string
  private readonly random: Random
  private readonly runtime: ManagedRuntime.ManagedRuntime<FipClient, unknown>
  private files: Files = new Map()
  /** What there is if the change that was not answered was carried out. */
  private unanswered: Files | undefined
  private doing: Change | undefined
  private unfinished: Unfinished | undefined
  /** What is being done was begun before. */
  private isContinuing = false
  /** Names whose content may be another one than when it was last looked at. */
  private readonly touched = new Set<string>()
  acknowledged = 0
  /** Changes that were not answered, and those of them that were carried out. */
  open = 0
  carriedOut = 0
  /** Uploads that were continued after something was killed, and those of them that were found committed. */
  resumed = 0
  resumedCommitted = 0

  constructor(name: string, random: Random, port: number, knownHosts: string) {
    this.name = name
    this.random = random
    this.runtime = ManagedRuntime.make(FipClient.layer({ host: "127.0.0.1", port, knownHosts }))
  }

  readonly register = (): Promise<unknown> =>
    this.runtime.runPromise(Effect.flatMap(FipClient, (client) =>
      Effect.andThen(
        client.register(this.name, Redacted.make(PASSWORD)),
        client.login(this.name, Redacted.make(PASSWORD))
      )))

  /** The next change, which counts as not answered until it is. An upload that was cut off is continued first. */
  next(): Order {
    const { unfinished } = this
    const change = unfinished?.change ?? chooseChange(this.files, this.random, lengthOf)
    this.doing = change
    this.isContinuing = unfinished !== undefined
    this.unanswered = unfinished?.isDone === true ? this.files : afterChange(this.files, change)
    this.touched.add(change.name)
    if ("to" in change) this.touched.add(change.to)
    return { user: this.name, change, upload: unfinished?.upload }
  }

  /** The upload that is under way can be continued from here on. */
  readonly begun = (upload: string): void => {
    if (this.doing !== undefined) this.unfinished = { change: this.doing, upload, isDone: false }
  }

  /** True when the change was acknowledged, as it should be. */
  take({ change, upload }: Order, outcome: Outcome): boolean {
    if (!("written" in outcome) || this.unanswered === undefined) {
      // What was begun can be continued, and what is refused for good was not.
      if (upload !== undefined && "code" in outcome && outcome.code?.startsWith("2:") === true) {
        throw new Error(`${this.name} could not continue an upload of ${change.name}: ${outcome.failure}`)
      }
      return false
    }
    const name = "to" in change ? change.to : change.name
    const versions = this.unanswered.get(name)
    const { size, version } = outcome.written
    if (size !== versions?.at(-1)?.length || version !== versions?.length) {
      throw new Error(
        `${this.name} was told of version ${version} of ${name} with ${size} bytes, after ${change.do}, instead of ` +
          `version ${versions?.length} with ${versions?.at(-1)?.length}`
      )
    }
    if (this.isContinuing) {
      this.resumed++
      if (this.unfinished?.isDone === true) this.resumedCommitted++
    }
    this.unfinished = undefined
    this.files = this.unanswered
    this.unanswered = undefined
    this.acknowledged++
    return true
  }

  /**
   * Looks whether what was acknowledged is there, and throws when it is not: names, sizes, versions and counters, and
   * the content of what was changed since the last time; with `everything`, every version of every file.
   */
  async verify(everything: boolean): Promise<void> {
    await this.runtime.runPromise(
      Effect.flatMap(FipClient, (client) => this.look(client, everything)).pipe(
        // The server may still be on its way back to its database.
        Effect.retry({
          times: 100,
          schedule: Schedule.spaced("100 millis"),
          while: (error) => error._tag === "Refusal" && error.code === "3:db"
        })
      )
    ).catch((cause: unknown) => {
      throw new Error(`${this.name}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    })
    this.touched.clear()
  }

  private readonly look = Effect.fnUntraced(function*(this: User, client: FipClientShape, everything: boolean) {
    const entries = yield* Stream.runCollect(client.list({ recursive: true }))
    const listed: Listed = new Map(entries.flatMap((one) => one._tag === "File" ? [[one.file.name, one.file]] : []))
    this.settle(listed)
    const { bytes, files } = usageOf(this.files)
    const storage = yield* client.queryStorage
    if (storage.bytes_used !== bytes || storage.files_used !== files) {
      throw new Error(`${this.name} has ${bytes} bytes in ${files} files: ${JSON.stringify(storage)}`)
    }
    for (const [name, versions] of this.files) {
      if (everything) yield* checkVersions(client, name, versions)
      else if (this.touched.has(name) && !currentOf(this.files, name).equals(yield* read(client, name))) {
        throw new Error(`${this.name} has other content in ${name} than was acknowledged`)
      }
    }
  })

  /** Decides, by what there is, whether the change that was not answered was carried out. */
  private settle(listed: Listed): void {
    const { doing, unanswered } = this
    if (unanswered !== undefined && doing?.do === "upload" && doing.content.length > MAX_DATA_BYTES) {
      this.unfinished = { change: doing, upload: undefined, isDone: false }
    }
    const { unfinished } = this
    const isNew = unanswered !== undefined && unanswered !== this.files
    if (isNew) this.open++
    if (isNew && isListed(listed, unanswered)) {
      this.carriedOut++
      this.files = unanswered
      this.unfinished = unfinished?.upload === undefined ? undefined : { ...unfinished, isDone: true }
    } else if (!isListed(listed, this.files)) {
      const found = [...listed].map(([name, { size, version }]) => `${name}: version ${version}, ${size} bytes`)
      const or = isNew ? `\nor\n${summary(unanswered)}` : ""
      throw new Error(`${this.name} has\n${found.join("\n")}\ninstead of\n${summary(this.files)}${or}`)
    }
    this.unanswered = undefined
  }

  readonly close = (): Promise<void> => this.runtime.dispose()
}

/** A user whose clients and server are killed: what must be there, and a client that looks whether it is. */
import { Effect, ManagedRuntime, Redacted, Schedule, Stream } from "effect"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import {
  afterChange,
  type Change,
  chooseChange,
  type Files,
  isSame,
  sha256,
  summary,
  usageOf
} from "../support/FileModel.ts"
import type { Random } from "../support/Random.ts"
import { type Outcome, PASSWORD } from "./crewProcess.ts"

const MiB = 1024 * 1024

/** Parts of an upload have a MiB: more than one of them. */
const lengthOf = (random: Random, doing: "put" | "upload"): number =>
  doing === "upload" ? MiB + 1 + random.below(2 * MiB) : random.below(random.pick([600, 9000, 9000, 200_000]))

/** Everything that a user has. */
const contentsOf = Effect.fnUntraced(function*(client: FipClientShape) {
  const found = new Map<string, ReadonlyMap<number, Buffer>>()
  for (const entry of yield* Stream.runCollect(client.list({ recursive: true }))) {
    if (entry._tag !== "File") continue
    const { name } = entry.file
    const { versions } = yield* client.queryVersions(name)
    found.set(
      name,
      new Map(
        yield* Effect.forEach(
          versions,
          ({ sha256: hash, version }) =>
            Effect.map(Stream.mkUint8Array(client.read(name, { version })), (bytes) => {
              const content = Buffer.from(bytes)
              if (hash !== undefined && sha256(content) !== hash) {
                throw new Error(`version ${version} of ${name} is torn`)
              }
              return [version, content] as const
            })
        )
      )
    )
  }
  return { found, storage: yield* client.queryStorage }
})

export class User {
  readonly name: string
  private readonly random: Random
  private readonly runtime: ManagedRuntime.ManagedRuntime<FipClient, unknown>
  private files: Files = new Map()
  private unanswered: Files | undefined
  acknowledged = 0
  /** Changes that were not answered, and those of them that were carried out. */
  open = 0
  carriedOut = 0

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

  /** The next change, which counts as not answered until it is. */
  next(): Change {
    const change = chooseChange(this.files, this.random, lengthOf)
    this.unanswered = afterChange(this.files, change)
    return change
  }

  /** True when the change was acknowledged, as it should be. */
  take(change: Change, outcome: Outcome): boolean {
    if (!("written" in outcome) || this.unanswered === undefined) return false
    const name = "to" in change ? change.to : change.name
    const versions = this.unanswered.get(name)
    const { size, version } = outcome.written
    if (size !== versions?.at(-1)?.length || version !== versions?.length) {
      throw new Error(`${this.name} was told of version ${version} of ${name} with ${size} bytes, after ${change.do}`)
    }
    this.files = this.unanswered
    this.unanswered = undefined
    this.acknowledged++
    return true
  }

  /** Looks at everything, and throws when it is not as it must be. */
  async verify(): Promise<void> {
    const { found, storage } = await this.runtime.runPromise(
      Effect.flatMap(FipClient, contentsOf).pipe(
        // The server may still be on its way back to its database.
        Effect.retry({
          times: 100,
          schedule: Schedule.spaced("100 millis"),
          while: (error) => error._tag === "Refusal" && error.code === "3:db"
        })
      )
    )
    if (this.unanswered !== undefined) this.open++
    if (this.unanswered !== undefined && isSame(found, this.unanswered)) {
      this.carriedOut++
      this.files = this.unanswered
    } else if (!isSame(found, this.files)) {
      const or = this.unanswered === undefined ? "" : `\nor\n${summary(this.unanswered)}`
      throw new Error(`${this.name} has\n${summary(found)}\ninstead of\n${summary(this.files)}${or}`)
    }
    this.unanswered = undefined
    const { bytes, files } = usageOf(this.files)
    if (storage.bytes_used !== bytes || storage.files_used !== files) {
      throw new Error(`${this.name} has ${bytes} bytes in ${files} files: ${JSON.stringify(storage)}`)
    }
  }

  readonly close = (): Promise<void> => this.runtime.dispose()
}

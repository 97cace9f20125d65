/** A server's files in memory, behind the methods of the client that move, list and delete them. */
import { Effect, Stream } from "effect"
import { createHash } from "node:crypto"
import { readFile, stat, writeFile } from "node:fs/promises"
import type { FileInput, FipClientShape } from "../../src/client/FipClient.ts"
import { attributesOf } from "../../src/client/LocalFile.ts"
import { setAttributes } from "../../src/client/Sink.ts"
import { FileName, formatFileRef } from "../../src/protocol/FileName.ts"
import { Sha256 } from "../../src/protocol/Identity.ts"
import { Refusal, refuse } from "../../src/protocol/Refusal.ts"
import type { Attributes, FileInfo } from "../../src/protocol/Request.ts"
import { info } from "./ShellHarness.ts"

export interface RemoteFile {
  readonly content: string
  readonly version: number
  readonly attributes: Attributes
  /** Nobody knows it, as after APPEND. */
  readonly hashless?: boolean
}

export class RemoteFiles {
  readonly files = new Map<string, RemoteFile>()
  /** What was asked for, in order: `upload a`, `delete b`. */
  readonly done: Array<string> = []

  put(name: string, content: string, attributes: Attributes = {}, hashless = false): void {
    const version = (this.files.get(name)?.version ?? 0) + 1
    this.files.set(name, { content, version, attributes, hashless })
  }

  private written(name: string): FileInfo {
    const file = this.files.get(name)
    const { content = "", version = 0, attributes = {}, hashless = false } = file ?? {}
    const sha256 = Sha256.make(createHash("sha256").update(content).digest("hex"))
    return {
      ...info("x"),
      name: FileName.make(name),
      size: Buffer.byteLength(content),
      version,
      attributes,
      ...(hashless ? {} : { sha256 })
    }
  }

  private check(name: string, expected: number | undefined): Effect.Effect<void, Refusal> {
    const file = this.files.get(name)
    if (file === undefined && expected === undefined) return Effect.void
    if (file === undefined) return Effect.fail(refuse("2:nf", `there is no file ${name}`))
    return expected === undefined || expected === file.version ? Effect.void : Effect.fail(
      new Refusal({ code: "2:vcf", message: `${name} has version ${file.version}`, current_version: file.version })
    )
  }

  readonly answers = {
    list: ({ prefix = "", recursive = false } = {}) => {
      const isHere = (name: string) => recursive || !name.slice(prefix.length).includes("/")
      return Stream.suspend(() => {
        const names = [...this.files.keys()].filter((name) => name.startsWith(prefix)).sort()
        const folders = new Set(
          names.filter((name) => !isHere(name)).map((name) => name.slice(0, name.indexOf("/", prefix.length) + 1))
        )
        return Stream.fromIterable([
          ...[...folders].map((name) => ({ _tag: "Folder" as const, name })),
          ...names.filter(isHere).map((name) => ({ _tag: "File" as const, file: this.written(name) }))
        ])
      })
    },
    queryFile: (file) =>
      Effect.suspend(() =>
        this.files.has(nameOf(file))
          ? Effect.succeed(this.written(nameOf(file)))
          : Effect.fail(refuse("2:nf", `there is no file ${nameOf(file)}`))
      ),
    upload: (local, file, options = {}) =>
      Effect.gen({ self: this }, function*() {
        const name = nameOf(file)
        if (options.mode === "create" && this.files.has(name)) return yield* refuse("2:cnf", `${name} exists already`)
        yield* this.check(name, options.expectedVersion)
        const [content, stats] = yield* Effect.promise(() =>
          Promise.all([readFile(local, "utf8"), stat(local, { bigint: true })])
        )
        this.put(name, content, attributesOf(stats))
        this.done.push(`upload ${name}`)
        return this.written(name)
      }),
    download: (file, local) =>
      Effect.gen({ self: this }, function*() {
        const name = nameOf(file)
        const found = this.files.get(name)
        if (found === undefined) return yield* refuse("2:nf", `there is no file ${name}`)
        yield* Effect.promise(async () => {
          const { mode } = await stat(local).catch(() => ({ mode: 0o644 }))
          await writeFile(local, found.content)
          await setAttributes(local, mode & 0o777, found.attributes)
        })
        this.done.push(`download ${name}`)
        return { ...this.written(name), sha256: Sha256.make(createHash("sha256").update(found.content).digest("hex")) }
      }),
    delete: (file, options) =>
      Effect.gen({ self: this }, function*() {
        const name = nameOf(file)
        if (!this.files.has(name)) return yield* refuse("2:nf", `there is no file ${name}`)
        yield* this.check(name, options?.expectedVersion)
        this.files.delete(name)
        this.done.push(`delete ${name}`)
        return { owner: info("x").owner, name: FileName.make(name) }
      })
  } satisfies Partial<FipClientShape>
}

const nameOf = (file: FileInput): string =>
  typeof file === "string" ? file : formatFileRef({ ...file, owner: undefined })

/**
 * A process of clients: `node crewProcess.ts <port> <known hosts> <folder> <user>…`. Does what its parent says, for each
 * user as a client of their own, and says how it went.
 */
import { Cause, Effect, Exit, ManagedRuntime, Redacted, Scope } from "effect"
import { readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Api } from "../../src/client/Api.ts"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import { MAX_DATA_BYTES } from "../../src/protocol/Limits.ts"
import type { Written } from "../../src/protocol/Request.ts"
import type { Change } from "../support/FileModel.ts"
import * as Parts from "./Parts.ts"

export interface Order {
  readonly user: string
  readonly change: Change
  /** The upload that this change is to be continued by. */
  readonly upload?: string | undefined
}

/** What was acknowledged, or why nothing was. */
export type Outcome = { readonly user: string; readonly written: Partial<Written> } | {
  readonly user: string
  readonly failure: string
  /** Of a refusal. */
  readonly code?: string | undefined
}

/** An upload that can be continued has begun. */
export interface Begun {
  readonly user: string
  readonly upload: string
}

/** Says that every user is logged in. */
export const READY = "ready"

/** Of every user. */
export const PASSWORD = "tortured, and patient"

/** Writes a file, unless it is there: one that was touched is not the one whose upload was cut off. */
const provide = async (path: string, content: Buffer): Promise<void> => {
  const there = await readFile(path).catch(() => undefined)
  if (there?.equals(content) !== true) await writeFile(path, content)
}

const perform = (
  client: FipClientShape,
  api: Api,
  { change, upload }: Order,
  localFile: string,
  onBegun: (upload: string) => void
) => {
  switch (change.do) {
    case "put":
      return change.mode === "patch"
        ? client.patch(change.name, change.position, change.content)
        : client[change.mode](change.name, change.content)
    case "upload":
      if (upload !== undefined) return Parts.resume(api, upload, change.content)
      // The client library has a way of its own where one request is not enough.
      if (change.content.length <= MAX_DATA_BYTES) return Parts.upload(api, change, onBegun)
      return Effect.promise(() => provide(localFile, change.content)).pipe(
        Effect.andThen(client.upload(localFile, change.name, { mode: change.mode, position: change.position })),
        Effect.tap(Effect.promise(() => rm(localFile)))
      )
    case "delete":
      return client.delete(change.name)
    case "rename":
    case "copy":
      return client[change.do](change.name, change.to)
    case "restore":
      return client.restore(change.name, change.version)
  }
}

/** The code of the refusal that it ended with, if it was one. */
const codeOf = (cause: Cause.Cause<unknown>): string | undefined => {
  for (const reason of cause.reasons) {
    if (!Cause.isFailReason(reason)) continue
    const { error } = reason
    if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code
  }
  return undefined
}

const connect = async (user: string, port: number, knownHosts: string, folder: string) => {
  const scope = Scope.makeUnsafe()
  const runtime = ManagedRuntime.make(FipClient.layer({ host: "127.0.0.1", port, knownHosts, stateFolder: folder }))
  const client = await runtime.runPromise(FipClient)
  await runtime.runPromise(client.login(user, Redacted.make(PASSWORD)))
  const api = await runtime.runPromise(Scope.provide(Parts.openApi(user, PASSWORD, port, knownHosts), scope))
  return async (order: Order, onBegun: (upload: string) => void): Promise<Outcome> => {
    const exit = await runtime.runPromiseExit(perform(client, api, order, join(folder, user), onBegun))
    if (Exit.isSuccess(exit)) return { user, written: exit.value }
    const failure = Cause.prettyErrors(exit.cause).map((error) => error.message).join("; ")
    return { user, failure, code: codeOf(exit.cause) }
  }
}

if (process.argv[1] === import.meta.filename) {
  const [, , port, knownHosts = "", folder = "", ...names] = process.argv
  const users = new Map(
    await Promise.all(names.map(async (user) => [user, await connect(user, Number(port), knownHosts, folder)] as const))
  )
  process.on("message", (order: Order) => {
    const { user } = order
    const onBegun = (upload: string) => process.send?.({ user, upload } satisfies Begun)
    void users.get(user)?.(order, onBegun).then((outcome) => process.send?.(outcome))
  })
  process.on("disconnect", () => process.exit())
  process.send?.(READY)
}

/**
 * A process of clients: `node crewProcess.ts <port> <known hosts> <folder> <user>…`. Does what its parent says, for each
 * user as a client of their own, and says how it went.
 */
import { Cause, Effect, Exit, ManagedRuntime, Redacted } from "effect"
import { rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FipClient, type FipClientShape } from "../../src/client/FipClient.ts"
import type { Written } from "../../src/protocol/Request.ts"
import type { Change } from "../support/FileModel.ts"

export interface Order {
  readonly user: string
  readonly change: Change
}

/** What was acknowledged, or why nothing was. */
export type Outcome = { readonly user: string; readonly written: Partial<Written> } | {
  readonly user: string
  readonly failure: string
}

/** Says that every user is logged in. */
export const READY = "ready"

/** Of every user. */
export const PASSWORD = "tortured, and patient"

const perform = (client: FipClientShape, change: Change, localFile: string) => {
  switch (change.do) {
    case "put":
      return change.mode === "patch"
        ? client.patch(change.name, change.position, change.content)
        : client[change.mode](change.name, change.content)
    case "upload":
      return Effect.acquireUseRelease(
        Effect.promise(() => writeFile(localFile, change.content)),
        () => client.upload(localFile, change.name, { mode: change.mode, position: change.position }),
        () => Effect.promise(() => rm(localFile, { force: true }))
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

const connect = async (user: string, port: number, knownHosts: string, folder: string) => {
  const runtime = ManagedRuntime.make(FipClient.layer({ host: "127.0.0.1", port, knownHosts }))
  const client = await runtime.runPromise(FipClient)
  await runtime.runPromise(client.login(user, Redacted.make(PASSWORD)))
  return async (change: Change): Promise<Outcome> => {
    const exit = await runtime.runPromiseExit(perform(client, change, join(folder, user)))
    return Exit.isSuccess(exit)
      ? { user, written: exit.value }
      : { user, failure: Cause.prettyErrors(exit.cause).map((error) => error.message).join("; ") }
  }
}

if (process.argv[1] === import.meta.filename) {
  const [, , port, knownHosts = "", folder = "", ...names] = process.argv
  const users = new Map(
    await Promise.all(names.map(async (user) => [user, await connect(user, Number(port), knownHosts, folder)] as const))
  )
  process.on("message", ({ change, user }: Order) => {
    void users.get(user)?.(change).then((outcome) => process.send?.(outcome))
  })
  process.on("disconnect", () => process.exit())
  process.send?.(READY)
}

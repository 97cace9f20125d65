/** Handlers of the FILE category that say more than their result, or stream it: they hand over to `FileStore`. */
import { Effect } from "effect"
import { refuse } from "../../protocol/Refusal.ts"
import type { Written } from "../../protocol/Request.ts"
import type { BatchSource, ContentSource } from "../ContentSource.ts"
import type { Handlers } from "../Dispatch.ts"
import { FileStore } from "../FileStore.ts"
import { UserManager } from "../UserManager.ts"

type Name = "Read" | "Write" | "ReadMany" | "UploadStatus" | "UploadCommit" | "UploadAbort"

/** Whether a request that makes or changes a file made it. */
const codeOf = ({ version }: Written) => version === 1 ? "1:fnew" : "1:amnd"

const sessionEnded = refuse("2:auth", "the session has ended: log in again", "token")

/** A long read does not outlive the session that asked for it: a ban, a logout or a new password stops it midway. */
const whileLive = (content: ContentSource, isEnded: () => boolean): ContentSource => ({
  length: content.length,
  next: () => isEnded() ? Promise.reject(sessionEnded) : content.next(),
  release: (chunk) => content.release(chunk),
  sha256: () => content.sha256(),
  close: () => content.close()
})

const batchesWhileLive = (batches: BatchSource, isEnded: () => boolean): BatchSource => ({
  owner: batches.owner,
  next: () => isEnded() ? Promise.reject(sessionEnded) : batches.next(),
  close: () => batches.close()
})

const NOTHING = new Uint8Array(0)

/** What `content` has, read and checked, but not sent. An empty message for each piece tells the client that it goes on. */
const unsent = (content: ContentSource): ContentSource => {
  let read = 0
  return {
    length: content.length,
    next: async () => {
      const chunk = await content.next()
      if (chunk === undefined) return undefined
      read += chunk.length
      content.release(chunk)
      return NOTHING
    },
    release: () => {},
    withheld: () => {
      const bytes = read
      read = 0
      return bytes
    },
    sha256: () => content.sha256(),
    close: () => content.close()
  }
}

export const fileHandlers: Effect.Effect<Handlers<Name>, never, FileStore | UserManager> = Effect.gen(function*() {
  const files = yield* FileStore
  const users = yield* UserManager
  return {
    Read: ({ body, caller }) =>
      Effect.map(files.read(caller, body), ({ content, head }) => {
        const sent = whileLive(content, () => users.isEnded(caller.sessionId))
        if (body.content !== false) return { code: "1:read", result: head, content: sent }
        const result = { ...head, length: 0 }
        if (head.sha256 === undefined) return { code: "1:read", result, content: unsent(sent) }
        content.close()
        return { code: "1:read", result }
      }),
    Write: ({ body, caller, data }) =>
      Effect.map(files.write(caller, body, data), (result) => ({ code: codeOf(result), result })),
    ReadMany: ({ body, caller }) =>
      Effect.map(files.readMany(caller, body), (batches) => ({
        code: "1:read",
        result: { owner: batches.owner, files: [] },
        batches: batchesWhileLive(batches, () => users.isEnded(caller.sessionId))
      })),
    UploadStatus: ({ body, caller }) =>
      Effect.map(files.uploadStatus(caller, body.upload_id, body.claim), (result) => ({ code: "1:qa", result })),
    UploadCommit: ({ body, caller }) =>
      Effect.map(files.uploadCommit(caller, body), (result) => ({ code: codeOf(result), result })),
    UploadAbort: ({ body, caller }) =>
      Effect.as(files.uploadAbort(caller, body.upload_id), {
        code: "1:uabt",
        result: { upload_id: body.upload_id }
      })
  }
})

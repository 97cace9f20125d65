/** Uploads that are not finished: what they hold of the server's disk, and how to give them up. */
import { Clock, Effect, Schema } from "effect"
import { Argument } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import { UploadId } from "../../../protocol/Identity.ts"
import { formatAgo, formatBytes, formatCount, formatTime } from "../format.ts"
import { verbose } from "../inputs.ts"
import { table } from "../Output.ts"
import { shellCommand } from "../ShellCommand.ts"

export const queryUploads = shellCommand({
  name: "QUERY UPLOADS",
  summary: "Your uploads that are not finished; the same UPLOAD again goes on with one, ABORT gives it up",
  examples: [{ command: "QUERY uploads" }],
  json: "`uploads` (an array of `upload_id`, `owner`, `name`, `mode`, `size` where it is known, `received_bytes`, " +
    "`expires_at`, the first to expire first)",
  input: { verbose: verbose("with exact times") },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const result = yield* client.queryUploads
    const now = yield* Clock.currentTimeMillis
    const text = yield* table(
      [
        { title: "UPLOAD" },
        { title: "ARRIVED", right: true },
        { title: "OF", right: true },
        { title: "DROPPED" },
        { title: "FILE", cuts: true }
      ],
      result.uploads.map(({ expires_at, name, owner, received_bytes, size, upload_id }) => [
        upload_id,
        formatBytes(received_bytes),
        size === undefined ? "?" : formatBytes(size),
        input.verbose ? formatTime(expires_at) : formatAgo(expires_at, now),
        formatFileRef({ owner, name })
      ])
    )
    return {
      code: "1:qa",
      message: `${formatCount(result.uploads.length, "upload")} not finished`,
      result,
      text
    }
  })
})

const abort = shellCommand({
  name: "ABORT",
  summary: "Give up an upload that is not finished; what has arrived of it is dropped",
  examples: [{
    command: "ABORT 4f9d2c1e-8a70-4b6c-9f3d-1c2b3a4d5e6f",
    description: "QUERY uploads shows which there are"
  }],
  json: "`upload_id`",
  input: {
    upload: Argument.String("upload").pipe(
      Argument.filterMap(Schema.decodeUnknownOption(UploadId), () => "an upload's id, as QUERY uploads shows it"),
      Argument.withDescription("which one, by the id that QUERY uploads shows")
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const result = yield* client.abortUpload(input.upload)
    return { code: "1:uabt", message: `gave up the upload ${result.upload_id}`, result }
  })
})

export const uploadCommands = [abort] as const

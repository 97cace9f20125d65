/** `UPLOAD - name`: what comes in on standard input, of any length, where that holds content and not the commands. */
import { Context, Effect, Stream } from "effect"
import type { LocalFileError } from "../../../client/ClientError.ts"
import { FipClient, type WriteOptions } from "../../../client/FipClient.ts"
import { formatFileRef } from "../../../protocol/FileName.ts"
import { TransferFailed, UsageError } from "../Failure.ts"
import { formatBytes } from "../format.ts"
import type { Place } from "../places.ts"
import { Progress, withProgress } from "../Progress.ts"
import { writtenCode } from "./files.ts"

/** Standard input, where a command may have it. */
export const StandardInput = Context.Reference<Stream.Stream<Uint8Array, LocalFileError> | undefined>(
  "fip/cli/shell/StandardInput",
  { defaultValue: () => undefined }
)

/** The name by which it is meant. */
export const STANDARD_INPUT = "-"

/** Sends it to a file on the server; nothing is there under its name before all of it is. */
export const uploadStandardInput = Effect.fnUntraced(function*(place: Place | undefined, options: WriteOptions) {
  const input = yield* StandardInput
  if (input === undefined) {
    return yield* new UsageError({ message: "standard input is where the commands come from: name a file" })
  }
  const file = place?.file
  if (file === undefined) {
    return yield* new UsageError({ message: "what comes from standard input needs a name: UPLOAD - log.txt" })
  }
  const client = yield* FipClient
  const progress = new Progress()
  const onProgress = progress.forFile()
  let bytes = 0
  const counted = Stream.tap(
    input,
    (chunk) => Effect.sync(() => onProgress({ bytes: bytes += chunk.length, total: undefined }))
  )
  const result = yield* withProgress(progress, client.write(file, counted, options)).pipe(
    // What has been read from it cannot be read again.
    Effect.mapError((cause) => new TransferFailed({ moved: progress.moved, goesOn: false, cause }))
  )
  return {
    code: writtenCode(result),
    message: `uploaded standard input to ${formatFileRef(file)} (${
      formatBytes(result.size)
    }, version ${result.version})`,
    result
  }
})

/**
 * Uploads by the requests that they consist of: in small parts and out of order, so that a kill finds them at any stage,
 * and continued after it by whoever knows their id.
 */
import { Effect } from "effect"
import { type Api, makeApi } from "../../src/client/Api.ts"
import { deviceFor } from "../../src/client/Device.ts"
import { makeLink } from "../../src/client/Link.ts"
import { makeTrust } from "../../src/client/Trust.ts"
import { type Change, sha256 } from "../support/FileModel.ts"

const PART_BYTES = 24 * 1024

/** Parts on their way at the same time. */
const WINDOW = 3

/** The requests of a user who is logged in. */
export const openApi = Effect.fnUntraced(function*(
  identity: string,
  password: string,
  port: number,
  knownHosts: string
) {
  const address = { host: "127.0.0.1", port }
  const link = yield* makeLink({
    address,
    trust: makeTrust(address, { ...address, knownHosts }),
    silenceMillis: 60_000,
    compression: "never",
    onNotice: () => {}
  })
  const api = yield* makeApi(link, yield* deviceFor(address, knownHosts))
  const auth = { identity, password }
  yield* Effect.flatMap(api.call("Login", { device: api.session.device }, { auth }), api.session.begin)
  return api
})

/** Sends all parts of which something is missing, the last one first. */
const sendMissing = (
  api: Api,
  uploadId: string,
  content: Buffer,
  received: ReadonlyArray<readonly [number, number]>
) => {
  const missing: Array<number> = []
  for (let at = 0; at < content.length; at += PART_BYTES) {
    const to = Math.min(at + PART_BYTES, content.length)
    if (!received.some(([from, end]) => from <= at && to <= end)) missing.unshift(at)
  }
  return Effect.forEach(
    missing,
    (offset) =>
      api.call("UploadPart", { upload_id: uploadId, offset }, { data: content.subarray(offset, offset + PART_BYTES) }),
    { concurrency: WINDOW, discard: true }
  )
}

const commit = (api: Api, uploadId: string, content: Buffer) =>
  api.call("UploadCommit", { upload_id: uploadId, sha256: sha256(content) })

/** Uploads; `onBegun` is told as soon as there is something to continue. */
export const upload = Effect.fnUntraced(function*(
  api: Api,
  { content, mode, name, position }: Extract<Change, { readonly do: "upload" }>,
  onBegun: (uploadId: string) => void
) {
  const { upload_id } = yield* api.call("UploadBegin", {
    owner: undefined,
    expected_version: undefined,
    name,
    mode,
    size: content.length,
    position: mode === "patch" ? position : undefined
  })
  onBegun(upload_id)
  yield* sendMissing(api, upload_id, content, [])
  return yield* commit(api, upload_id, content)
})

/** Continues an upload, which may have been committed without its client knowing. */
export const resume = Effect.fnUntraced(function*(api: Api, uploadId: string, content: Buffer) {
  const received = yield* api.call("UploadStatus", { upload_id: uploadId }).pipe(
    Effect.map((state) => state.received),
    Effect.catchIf(
      (error) => error._tag === "Refusal" && error.code === "2:opcf",
      () => Effect.void
    )
  )
  if (received !== undefined) yield* sendMissing(api, uploadId, content, received)
  return yield* commit(api, uploadId, content)
})

/** What people may know of the activity log: their own doings, what others did to their files, and the log of one file. */
import { Context, Effect, Layer } from "effect"
import { formatFileRef } from "../../protocol/FileName.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { BodyOf, ResultOf } from "../../protocol/Request.ts"
import { ActivityLog } from "../ActivityLog.ts"
import type { Caller } from "../Caller.ts"
import { FileRepo } from "../files/FileRepo.ts"
import { permit } from "../files/Rules.ts"
import { noSuchFile } from "../permissions/Policy.ts"

const PAGE = 100

export class ActivityQueries extends Context.Service<ActivityQueries, {
  /** The newest first. Only a file's owner may see the log of a file. */
  readonly queryActivity: (
    caller: Caller,
    body: BodyOf<"QueryActivity">
  ) => Effect.Effect<ResultOf<"QueryActivity">, Refusal>
}>()("fip/server/activity/ActivityQueries") {
  static readonly layerNoDeps = Layer.effect(
    ActivityQueries,
    Effect.gen(function*() {
      const log = yield* ActivityLog
      const files = yield* FileRepo

      /** The file's id, when the caller may see its log. */
      const fileOf = Effect.fnUntraced(function*(caller: Caller, { name, owner = caller.username }: {
        readonly owner?: BodyOf<"QueryActivity">["owner"]
        readonly name: Exclude<BodyOf<"QueryActivity">["name"], undefined>
      }) {
        const place = yield* files.locate({ callerId: caller.userId, owner, name })
        if (place === undefined) return yield* noSuchFile(formatFileRef({ owner, name }))
        return (yield* Effect.fromResult(permit(place, "queryActivity"))).fileId
      })

      return ActivityQueries.of({
        queryActivity: Effect.fnUntraced(function*(caller, { before, limit = PAGE, name, owner }) {
          const page = { limit, before }
          const activities = name === undefined
            ? yield* log.ofUser(caller.userId, page)
            : yield* log.ofFile(yield* fileOf(caller, { name, ...(owner === undefined ? {} : { owner }) }), page)
          const last = activities.at(-1)
          return {
            activities,
            ...(activities.length < limit || last === undefined ? {} : { next: last.activity_id })
          }
        })
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide(FileRepo.layer))
}

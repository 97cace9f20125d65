/** The PERMISSION category: who may do what, and who alone for a while. */
import { Schema } from "effect"
import { FileName, Shareable } from "../FileName.ts"
import { Timestamp, Username } from "../Identity.ts"
import { GrantRole } from "../Permission.ts"
import { Category, define } from "./define.ts"
import { Count, GrantInfo, LockDuration, Remaining, ShareableTarget, Target, Written } from "./values.ts"

export const permissionRequests = {
  Grant: define({
    category: Category.PERMISSION,
    subcategory: 1,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({
      ...ShareableTarget,
      username: Username,
      role: GrantRole,
      /** Absent: permanent. */
      duration_ms: Schema.optionalKey(Count.check(Schema.isGreaterThan(0)))
    }),
    result: Schema.Struct({ owner: Username, name: Shareable, ...GrantInfo.fields })
  }),
  Revoke: define({
    category: Category.PERMISSION,
    subcategory: 2,
    auth: "token",
    body: Schema.Struct({ ...ShareableTarget, username: Username }),
    result: Schema.Struct({
      owner: Username,
      name: Shareable,
      username: Username,
      role: GrantRole,
      remaining: Schema.optionalKey(Remaining)
    })
  }),
  Hide: define({
    category: Category.PERMISSION,
    subcategory: 4,
    auth: "token",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({ owner: Username, name: Shareable, public: Schema.Boolean })
  }),
  Publicise: define({
    category: Category.PERMISSION,
    subcategory: 8,
    auth: "token",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({ owner: Username, name: Shareable, public: Schema.Boolean })
  }),
  Transfer: define({
    category: Category.PERMISSION,
    subcategory: 16,
    auth: "token",
    body: Schema.Struct({ ...Target, username: Username, new_name: Schema.optionalKey(FileName) }),
    result: Written
  }),
  Lock: define({
    category: Category.PERMISSION,
    subcategory: 256,
    auth: "token",
    idempotent: true,
    body: Schema.Struct({ ...Target, duration_ms: Schema.optionalKey(LockDuration) }),
    result: Schema.Struct({ owner: Username, name: FileName, locked_by: Username, locked_until: Timestamp })
  }),
  Unlock: define({
    category: Category.PERMISSION,
    subcategory: 512,
    auth: "token",
    idempotent: true,
    /** `force`: somebody else's lock as well, which is the owner's right. */
    body: Schema.Struct({ ...Target, force: Schema.optionalKey(Schema.Boolean) }),
    result: Schema.Struct({
      owner: Username,
      name: FileName,
      /** Whose lock was ended; absent when there was none. */
      unlocked: Schema.optionalKey(Username)
    })
  })
} as const

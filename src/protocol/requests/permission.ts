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
    remembered: { when: "always", says: "role granted", notable: true },
    answered: "1:gnt",
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
    remembered: { when: "always", says: "role revoked", notable: true },
    answered: "1:rvk",
    body: Schema.Struct({ ...ShareableTarget, username: Username }),
    result: Schema.Struct({
      owner: Username,
      name: Shareable,
      username: Username,
      role: GrantRole,
      remaining: Schema.optionalKey(Remaining)
    })
  }),
  /** Ends that, and nothing else. */
  Hide: define({
    category: Category.PERMISSION,
    subcategory: 4,
    auth: "token",
    remembered: { when: "always", says: "file hidden", notable: true },
    method: { name: "hide", about: "shareable" },
    answered: "1:hide",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({ owner: Username, name: Shareable, public: Schema.Boolean })
  }),
  /** Lets everybody read. */
  Publicise: define({
    category: Category.PERMISSION,
    subcategory: 8,
    auth: "token",
    remembered: { when: "always", says: "file made public", notable: true },
    method: { name: "publicise", about: "shareable" },
    answered: "1:pub",
    idempotent: true,
    body: Schema.Struct(ShareableTarget),
    result: Schema.Struct({ owner: Username, name: Shareable, public: Schema.Boolean })
  }),
  Transfer: define({
    category: Category.PERMISSION,
    subcategory: 16,
    auth: "token",
    remembered: { when: "always", says: "file handed over", notable: true },
    answered: "1:sft",
    body: Schema.Struct({ ...Target, username: Username, new_name: Schema.optionalKey(FileName) }),
    result: Written
  }),
  /** Keeps others from changing the file, for 10 minutes unless given; again by its holder: from now on for so long. */
  Lock: define({
    category: Category.PERMISSION,
    subcategory: 256,
    auth: "token",
    method: { name: "lock", about: "file" },
    answered: "1:lock",
    idempotent: true,
    body: Schema.Struct({ ...Target, duration_ms: Schema.optionalKey(LockDuration) }),
    result: Schema.Struct({ owner: Username, name: FileName, locked_by: Username, locked_until: Timestamp })
  }),
  /** Ends one's own lock; with `force`, as the file's owner, anybody's. */
  Unlock: define({
    category: Category.PERMISSION,
    subcategory: 512,
    auth: "token",
    method: { name: "unlock", about: "file" },
    answered: "1:unlk",
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

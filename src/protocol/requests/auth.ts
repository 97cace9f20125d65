/** The AUTH category: accounts and sessions. */
import { Schema } from "effect"
import { DeviceId, InviteCode, Password, SessionId, Username } from "../Identity.ts"
import { Category, define } from "./define.ts"
import { Count, Empty, SessionGrant } from "./values.ts"

export const authRequests = {
  Register: define({
    category: Category.AUTH,
    subcategory: 1,
    auth: "password",
    remembered: { when: "always", says: "user registered", notable: true },
    /** `invite`: where registration is by invitation. */
    body: Schema.Struct({ invite: Schema.optionalKey(InviteCode) }),
    result: Schema.Struct({ username: Username })
  }),
  Login: define({
    category: Category.AUTH,
    subcategory: 2,
    auth: "password",
    remembered: { when: "always", says: "logged in", notable: true },
    idempotent: true,
    body: Schema.Struct({ device: DeviceId }),
    result: SessionGrant
  }),
  Refresh: define({
    category: Category.AUTH,
    subcategory: 4,
    auth: "digest",
    idempotent: true,
    body: Empty,
    result: SessionGrant
  }),
  ChangePassword: define({
    category: Category.AUTH,
    subcategory: 8,
    auth: "password",
    remembered: { when: "always", says: "password changed", notable: true },
    body: Schema.Struct({ new_password: Password }),
    result: Schema.Struct({ username: Username, sessions_ended: Count })
  }),
  DeleteUser: define({
    category: Category.AUTH,
    subcategory: 16,
    auth: "password",
    remembered: { when: "always", says: "user deleted", notable: true },
    body: Empty,
    result: Schema.Struct({ username: Username, files_deleted: Count, bytes_deleted: Count })
  }),
  Logout: define({
    category: Category.AUTH,
    subcategory: 32,
    auth: "token",
    remembered: { when: "always", says: "session ended", notable: true },
    idempotent: true,
    /** Without `session_id`, the session that asks. */
    body: Schema.Struct({ session_id: Schema.optionalKey(SessionId) }),
    result: Schema.Struct({ session_id: SessionId })
  }),
  /** Ends all sessions of one's own but this. */
  LogoutOthers: define({
    category: Category.AUTH,
    subcategory: 64,
    auth: "token",
    method: { name: "logoutOthers" },
    answered: "1:bye",
    remembered: { when: "always", says: "other sessions ended", notable: true },
    idempotent: true,
    body: Empty,
    result: Schema.Struct({ sessions_ended: Count })
  })
} as const

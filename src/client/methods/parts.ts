/** What the methods of one client are built on. */
import type { Username } from "../../protocol/Identity.ts"
import type { Api } from "../Api.ts"
import type { Journals } from "../Journal.ts"
import type { Keeper } from "../KeptSessions.ts"
import type { Link } from "../Link.ts"

export interface ClientParts {
  readonly api: Api
  readonly link: Link
  readonly journals: Journals
  /** What a user's sessions are kept with. */
  readonly keeperOf: (username: Username) => Keeper
  /** Told what a person should know and what is no failure. */
  readonly onNotice: (message: string) => void
}

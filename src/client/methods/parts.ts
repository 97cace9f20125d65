/** What the methods of one client are built on. */
import type { Api } from "../Api.ts"
import type { Journals } from "../Journal.ts"
import type { Link } from "../Link.ts"

export interface ClientParts {
  readonly api: Api
  readonly link: Link
  readonly journals: Journals
  /** Told what a person should know and what is no failure. */
  readonly onNotice: (message: string) => void
}

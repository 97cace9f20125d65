/** What is worth remembering, and the way to say it: a reference, so that whoever notices something needs no log. */
import { Context } from "effect"

/** What belongs to an event and to no other kind of event. No secrets, no content. */
export type Detail = Readonly<Record<string, string | number | boolean>>

/** Something that somebody did, or tried to. */
export interface Activity {
  /** A request's name, a command of `fip admin`, or what the server noticed. */
  readonly action: string
  /** With what it was answered: a code of the wire, or `1:ok` for `fip admin`. */
  readonly code: string
  /** What the log on standard error says; the rest goes with it as annotations. */
  readonly says: string
  /** Who. A name without an id may belong to nobody. */
  readonly userId?: number | undefined
  readonly username?: string | undefined
  /** From where; empty for an administrator, and for many at once. */
  readonly address: string
  /** Which file; an owner without a name is the account that an administrator did something to. */
  readonly owner?: string | undefined
  readonly name?: string | undefined
  /** Where it was before, when this gave it another owner or name. */
  readonly movedFrom?: { readonly owner: string | undefined; readonly name: string } | undefined
  readonly durationMillis: number
  /** Somebody should look at it. */
  readonly suspicious: boolean
  /** False for what happens all the time: such events are in the log of this process at level debug only. */
  readonly notable: boolean
  readonly detail: Detail
}

/** Synchronous, and cheap enough for every request. Without an `ActivityLog` nothing is kept. */
export const RecordActivity = Context.Reference<(activity: Activity) => void>("fip/server/activity/RecordActivity", {
  defaultValue: () => () => {}
})

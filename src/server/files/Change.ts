/** The changes of files that there are. All of them go through the Committer. */
import type { FileName } from "../../protocol/FileName.ts"
import type { Sha256, UploadId, Username } from "../../protocol/Identity.ts"
import type { Attributes } from "../../protocol/Request.ts"
import type { SegmentId, Span } from "./Extent.ts"
import type { Storing } from "./Rules.ts"

interface Subject {
  readonly caller: { readonly userId: number; readonly username: Username }
  readonly ownerId: number
  readonly name: FileName
  readonly expected: number | undefined
}

/** New content. Its bytes are in `segment` already, if there are any. */
export interface Store extends Subject, Storing {
  readonly _tag: "Store"
  readonly segment: SegmentId | undefined
  readonly spans: ReadonlyArray<Span>
  /** Of the bytes stored. */
  readonly sha256: Sha256 | undefined
  /** What the sender said of the file that the content comes from. */
  readonly attributes: Attributes | undefined
  /** The upload that this is the commit of. */
  readonly upload: UploadId | undefined
}
export interface Delete extends Subject {
  readonly _tag: "Delete"
}
export interface Rename extends Subject {
  readonly _tag: "Rename"
  readonly newName: FileName
}
/** The copy is the caller's own. */
export interface Copy extends Subject {
  readonly _tag: "Copy"
  readonly newName: FileName
}
export interface Restore extends Subject {
  readonly _tag: "Restore"
  readonly version: number
}
/** Brings back the file of that name that was deleted last. */
export interface Undelete extends Subject {
  readonly _tag: "Undelete"
}
export type Change = Store | Delete | Rename | Copy | Restore | Undelete

/** A name under an owner. */
export interface Slot {
  readonly ownerId: number
  readonly name: FileName
}

/** The names that a change reads or writes: the subject first. */
export const slotsOf = (change: Change): readonly [Slot, ...ReadonlyArray<Slot>] => {
  const subject: Slot = { ownerId: change.ownerId, name: change.name }
  switch (change._tag) {
    case "Rename":
      return [subject, { ownerId: change.ownerId, name: change.newName }]
    case "Copy":
      return [subject, { ownerId: change.caller.userId, name: change.newName }]
    default:
      return [subject]
  }
}

export const keyOf = (slot: Slot): string => `${slot.ownerId}/${slot.name}`

/** Where a file is by the time that what was done to it is written down: records wait, and names change meanwhile. */
import type { Recorded } from "./ActivityRepo.ts"

export interface Whereabouts {
  readonly owner: string | undefined
  readonly name: string | undefined
  /** It has been deleted. */
  readonly gone: boolean
}

const keyOf = (owner: string | undefined, name: string | undefined): string => `${owner?.toLowerCase() ?? ""}/${name}`

/** The owners and names under which to look for the files of these records, which are in the order of their doing. */
export const whereabouts = (records: ReadonlyArray<Recorded>): ReadonlyArray<Whereabouts> => {
  const later = new Map<string, Whereabouts>()
  const found: Array<Whereabouts> = []
  for (const { action, code, movedFrom, name, owner } of records.toReversed()) {
    const gone = action === "Delete" && code.startsWith("1:")
    const now = gone ? { owner, name, gone } : later.get(keyOf(owner, name)) ?? { owner, name, gone }
    if (gone) later.set(keyOf(owner, name), now)
    if (movedFrom !== undefined) later.set(keyOf(movedFrom.owner, movedFrom.name), now)
    found.push(now)
  }
  return found.toReversed()
}

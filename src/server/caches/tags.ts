/** What a cached answer depends on, and a change names. The same on every server. */

/** Content, size and version of a file. */
export const contentOf = (fileId: number): string => `c${fileId}`

/** Everything about a file: its name, who owns it, who may do what to it. */
export const fileOf = (fileId: number): string => `f${fileId}`

/** Everything under an owner. */
export const ownerOf = (userId: number): string => `o${userId}`

/** An account: its name, and what it may do to the files of others. */
export const userOf = (userId: number): string => `u${userId}`

/** An upload that a server is adding to. */
export const uploadOf = (uploadId: string): string => `p${uploadId}`

/** Where bytes lie that are in a segment. */
export const segmentOf = (segment: string): string => `s${segment}`

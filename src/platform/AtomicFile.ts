/**
 * Writes a small file whole: after a crash at any point the path holds the old content or the new, never a part, and
 * after success the new content is on disk.
 *
 * The content goes to a temporary file in the same folder, with the mode set before a byte is written; it is synced,
 * renamed over the path, and the folder is synced. A crash may leave a temporary file behind, which nothing reads.
 */
import { Data, Effect } from "effect"
import { randomBytes } from "node:crypto"
import { open, rename, rm } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { systemErrorReason } from "./systemError.ts"

export class AtomicFileError extends Data.TaggedError("AtomicFileError")<{
  readonly path: string
  readonly message: string
  readonly cause: unknown
}> {}

/** Makes the names in a folder durable: what was created in it, renamed or removed. */
export const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const replace = async (path: string, content: string | Uint8Array, mode: number): Promise<void> => {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`)
  try {
    const handle = await open(temporary, "wx", mode)
    try {
      // The mode given to open is narrowed by the umask.
      await handle.chmod(mode)
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined)
    throw cause
  }
  await syncFolder(folder)
}

/** Replaces the file at `path`, or makes it, with mode 0600 unless told otherwise. Not interrupted half-way. */
export const writeAtomically = (
  path: string,
  content: string | Uint8Array,
  mode = 0o600
): Effect.Effect<void, AtomicFileError> =>
  Effect.uninterruptible(Effect.tryPromise({
    try: () => replace(path, content, mode),
    catch: (cause) => new AtomicFileError({ path, message: `cannot write ${path}: ${systemErrorReason(cause)}`, cause })
  }))

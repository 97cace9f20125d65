/**
 * One segment that is being written: positional writes, syncs shared by whoever waits, and a file descriptor that is
 * closed when nothing needs it any more.
 *
 * Invariants: a sync covers every write that had ended when it began; after a sync that failed every later one fails,
 * because the kernel may have dropped the pages that it could not write.
 */
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import { type Disk, writeAll } from "./Disk.ts"

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "an unknown error"

const sentenceOf = (code: string): string => {
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return "the server's disk is full: nothing was stored, try again when there is space"
    case "EMFILE":
    case "ENFILE":
      return "the server has too many files open: try again in a moment"
    default:
      return `the server's disk failed (${code})`
  }
}

/** What a failure of the disk is answered with; what happened is its `cause`, for the log. */
export const diskRefusal = (error: unknown): Refusal => {
  const refusal = refuse("3:disk", sentenceOf(codeOf(error)))
  refusal.cause = error
  return refusal
}

export class SegmentFile {
  private readonly disk: Disk
  private readonly file: number
  /** Makes the file's name durable, with its first sync. */
  private readonly syncName: () => Promise<void>
  private readonly onClosed: (failure: Refusal | undefined) => void
  private named = false
  private writing = 0
  /** Writes that ended, and how many of them the last good sync covered. */
  private written = 0
  private synced = 0
  private running: Promise<void> | undefined
  private next: Promise<void> | undefined
  private failure: Refusal | undefined
  private retired = false
  private discarded = false
  private closing: Promise<void> | undefined
  private readonly idle: Array<() => void> = []

  constructor(
    disk: Disk,
    file: number,
    syncName: () => Promise<void>,
    onClosed: (failure: Refusal | undefined) => void
  ) {
    this.disk = disk
    this.file = file
    this.syncName = syncName
    this.onClosed = onClosed
  }

  /** A sync has failed: nothing that is written from now on can be made durable here. */
  get hasFailed(): boolean {
    return this.failure !== undefined
  }

  /** Rejects with a `Refusal`. */
  async write(offset: number, chunks: ReadonlyArray<Uint8Array>): Promise<void> {
    this.writing++
    try {
      await writeAll(this.disk, this.file, chunks, offset)
    } catch (error) {
      throw diskRefusal(error)
    } finally {
      this.writing--
      this.written++
      this.settle()
    }
  }

  /** Rejects with a `Refusal`. */
  sync(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    if (this.synced === this.written && this.named) return Promise.resolve()
    // One that is running may have begun before the caller's write ended: wait for the one after it.
    this.next ??= (this.running ?? Promise.resolve()).then(
      () => this.begin(),
      () => this.begin()
    )
    return this.next
  }

  private begin(): Promise<void> {
    this.next = undefined
    this.running = this.flush().finally(() => {
      this.running = undefined
      this.settle()
    })
    return this.running
  }

  private async flush(): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    const covered = this.written
    try {
      await this.disk.sync(this.file)
      if (!this.named) await this.syncName()
    } catch (error) {
      this.failure = diskRefusal(error)
      throw this.failure
    }
    this.named = true
    this.synced = covered
  }

  /** No more writes will come: the file is closed as soon as everything in it is synced. */
  retire(): void {
    this.retired = true
    this.settle()
  }

  /** Nothing in it is needed. */
  discard(): void {
    this.retired = this.discarded = true
    this.settle()
  }

  /** Closes the file when what is under way has ended. What was not synced stays as it is. */
  close(): Promise<void> {
    this.discard()
    return this.closing ?? new Promise((resolve) => this.idle.push(resolve))
  }

  private settle(): void {
    if (!this.retired || this.closing !== undefined || this.writing > 0) return
    if (this.running !== undefined || this.next !== undefined) return
    const clean = this.synced === this.written && this.named
    if (!clean && !this.discarded && this.failure === undefined && this.written > 0) {
      // Settles again when it has ended; whoever needs the outcome asks for a sync of its own.
      this.sync().catch(() => undefined)
      return
    }
    this.closing = this.disk.close(this.file).catch(() => undefined).then(() => {
      this.onClosed(this.failure)
      for (const resolve of this.idle) resolve()
    })
  }
}

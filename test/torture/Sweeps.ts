/** What a server says, while it runs, of giving back space. */
import type { Readable } from "node:stream"

/** Words of src/server/files/Reclaimer.ts, as they are in a line of JSON. */
const BEGUN = /"looking for space to give back"/
const ENDED = /"looked for space to give back"/

/** What becomes unused in one look is found to be so by a later one, and removed when every server has let go of it. */
const IDLE = 12

const numberIn = (line: string, key: string): number => Number(new RegExp(`"${key}":(\\d+)`).exec(line)?.[1] ?? 0)

export class Sweeps {
  begun = 0
  private ended = 0
  /** Those that were under way when their server was killed. */
  cutOff = 0
  /** Segments that were mostly dead space, and those that were removed. */
  compacted = 0
  removed = 0
  removedBytes = 0
  /** Looks in a row that have found nothing to do. */
  private idle = 0
  private waiting: Array<{ readonly until: number; readonly resolve: () => void }> = []

  /** Follows what one server writes. */
  follow(stderr: Readable | null): void {
    let rest = ""
    let isUnderWay = false
    stderr?.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) {
        this.hear(line)
        isUnderWay = BEGUN.test(line) || (isUnderWay && !ENDED.test(line))
      }
    })
    stderr?.on("end", () => {
      if (isUnderWay) this.cutOff++
    })
  }

  private hear(line: string): void {
    if (BEGUN.test(line)) this.begun++
    if (!ENDED.test(line)) return
    this.ended++
    const compacted = numberIn(line, "segmentsCompacted")
    const removed = numberIn(line, "segmentsRemoved")
    this.compacted += compacted
    this.removed += removed
    this.removedBytes += numberIn(line, "bytesRemoved")
    this.idle = compacted + removed === 0 ? this.idle + 1 : 0
    const isOver = ({ until }: { readonly until: number }) => this.idle >= IDLE || this.ended >= until
    for (const one of this.waiting) if (isOver(one)) one.resolve()
    this.waiting = this.waiting.filter((one) => !isOver(one))
  }

  /** Resolves when nothing is left to be done, or after so many looks. */
  settled(atMost: number): Promise<void> {
    this.idle = 0
    return new Promise((resolve) => this.waiting.push({ until: this.ended + atMost, resolve }))
  }
}

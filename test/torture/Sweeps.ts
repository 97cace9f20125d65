/** What a server says, while it runs, of giving back space. */
import type { Readable } from "node:stream"

/** Words of src/server/files/Reclaimer.ts, as they are in a line of JSON. */
const BEGUN = /"looking for space to give back"/
const ENDED = /"looked for space to give back"/
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
    this.compacted += numberIn(line, "segmentsCompacted")
    this.removed += numberIn(line, "segmentsRemoved")
    this.removedBytes += numberIn(line, "bytesRemoved")
    for (const { resolve, until } of this.waiting) if (this.ended >= until) resolve()
    this.waiting = this.waiting.filter(({ until }) => this.ended < until)
  }

  /** Resolves when so many more have ended. */
  more(count: number): Promise<void> {
    return new Promise((resolve) => this.waiting.push({ until: this.ended + count, resolve }))
  }
}

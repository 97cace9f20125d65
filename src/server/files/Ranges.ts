/** A set of whole numbers as ranges [from, to): in order, not touching. */
export type Range = readonly [from: number, to: number]

export class Ranges {
  private list: Array<Range> = []

  /** The ranges, in order. */
  get all(): ReadonlyArray<Range> {
    return this.list
  }

  /** Where the last range ends. */
  get end(): number {
    return this.list.at(-1)?.[1] ?? 0
  }

  /** Where the range that begins at 0 ends. */
  get prefix(): number {
    const [first] = this.list
    return first !== undefined && first[0] === 0 ? first[1] : 0
  }

  add(from: number, to: number): void {
    if (from >= to) return
    const last = this.list.at(-1)
    // What comes in order costs nothing.
    if (last !== undefined && last[1] === from) {
      this.list[this.list.length - 1] = [last[0], to]
      return
    }
    let begin = from
    let end = to
    const before: Array<Range> = []
    const after: Array<Range> = []
    for (const range of this.list) {
      if (range[1] < begin) before.push(range)
      else if (range[0] > end) after.push(range)
      else {
        begin = Math.min(begin, range[0])
        end = Math.max(end, range[1])
      }
    }
    this.list = [...before, [begin, end], ...after]
  }

  remove(from: number, to: number): void {
    this.list = this.list.flatMap(([begin, end]): ReadonlyArray<Range> => {
      if (end <= from || begin >= to) return [[begin, end]]
      const rest: ReadonlyArray<Range> = [[begin, from], [to, end]]
      return rest.filter(([first, last]) => first < last)
    })
  }

  /** What of [from, to) is not in the set. */
  missing(from: number, to: number): ReadonlyArray<Range> {
    const gaps: Array<Range> = []
    let at = from
    for (const [begin, end] of this.list) {
      if (end <= at) continue
      if (begin >= to) break
      if (begin > at) gaps.push([at, begin])
      at = end
    }
    if (at < to) gaps.push([at, to])
    return gaps
  }
}

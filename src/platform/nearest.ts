/** What somebody may have meant: of the names there are, those that differ from a word by a slip or two. */

/** How many letters must be changed, added, left out or swapped with the next one to make `b` of `a`. */
const distance = (a: string, b: string): number => {
  let before: Array<number> = []
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      ))
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}

/** `: did you mean x or y?`, or nothing where no name is near. */
export const didYouMean = (word: string, names: Iterable<string>): string => {
  const near = Array.from(names, (name) => ({ name, distance: distance(word.toLowerCase(), name.toLowerCase()) }))
    .filter(({ distance, name }) => distance <= Math.min(2, Math.floor(Math.max(name.length, word.length) / 2)))
    .sort((a, b) => a.distance - b.distance)
  const best = near.filter(({ distance }) => distance === near[0]?.distance).map(({ name }) => name)
  return best.length === 0 ? "" : `: did you mean ${best.join(" or ")}?`
}

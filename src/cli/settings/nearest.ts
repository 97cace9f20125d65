/** The word that was probably meant. */

/** How many letters have to be changed, added or taken away. */
const distance = (from: string, to: string): number => {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (const [i, letter] of Array.from(from).entries()) {
    const next = [i + 1]
    for (const [j, other] of Array.from(to).entries()) {
      next.push(Math.min((row[j] ?? 0) + (letter === other ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}

/** The one of `words` that is like `word`; `undefined` when none is. */
export const nearest = (word: string, words: Iterable<string>): string | undefined => {
  let found: string | undefined
  let best = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of words) {
    const away = distance(word.toLowerCase(), candidate)
    if (away < best) [found, best] = [candidate, away]
  }
  return found
}

/** To be put behind a sentence about a word that is none. */
export const meant = (word: string, words: Iterable<string>): string => {
  const found = nearest(word, words)
  return found === undefined ? "" : `; did you mean ${found}?`
}

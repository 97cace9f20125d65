/**
 * The table of figures in README.md, from docs/benchmarks.md: each row is named as a part of that page is, and has the
 * medians of its rows that begin with `fip` and `sftp`. `npm run docs` writes it, and a test compares.
 */

/** The cells of a table's row. */
const cellsOf = (line: string): ReadonlyArray<string> => line.slice(1, -1).split("|").map((cell) => cell.trim())

/** The medians of a part, by the first word of their rows. */
const medians = (benchmarks: string, title: string): ReadonlyMap<string, string> => {
  const [, part] = benchmarks.split(`\n### ${title}\n`)
  if (part === undefined) throw new Error(`README.md has figures of "${title}", and docs/benchmarks.md no such part`)
  const lines = part.split(/^#/m)[0]?.split("\n").filter((line) => line.startsWith("|")) ?? []
  const column = cellsOf(lines[0] ?? "").indexOf("median")
  return new Map(
    lines.slice(2).toReversed().map(cellsOf).map((
      cells
    ) => [/\w+/.exec(cells[0] ?? "")?.[0] ?? "", cells[column] ?? ""])
  )
}

/** README.md with the figures that docs/benchmarks.md has now. */
export const withFigures = (readme: string, benchmarks: string): string => {
  const table = /^\| \| `fip` \| `sftp` \|\n\| --- \| --- \| --- \|\n((?:\|.*\|\n)+)/m
  const [whole, rows] = table.exec(readme) ?? []
  if (whole === undefined || rows === undefined) throw new Error("README.md has no table of fip and sftp")
  const written = rows.trim().split("\n").map((row) => {
    const [title = ""] = cellsOf(row)
    const found = medians(benchmarks, title)
    const figure = (contender: string): string => {
      const median = found.get(contender)
      if (median === undefined) throw new Error(`docs/benchmarks.md has no median of ${contender} in "${title}"`)
      return median
    }
    return `| ${title} | ${figure("fip")} | ${figure("sftp")} |\n`
  })
  return readme.replace(whole, whole.replace(rows, written.join("")))
}

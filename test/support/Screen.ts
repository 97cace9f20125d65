/** What a terminal shows of the bytes that a program writes: an emulator without a window. */
import headless from "@xterm/headless"

export class Screen {
  readonly #terminal: headless.Terminal

  constructor(columns: number, rows: number) {
    this.#terminal = new headless.Terminal({
      cols: columns,
      rows,
      scrollback: 1000,
      // As most terminals do, and as the shell takes it: a line that is resized is broken anew.
      reflowCursorLine: true,
      allowProposedApi: true
    })
  }

  /** Shows more bytes; done when they have been. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#terminal.write(bytes, resolve))
  }

  resize(columns: number): void {
    this.#terminal.resize(columns, this.#terminal.rows)
  }

  get #lines() {
    const { active } = this.#terminal.buffer
    return Array.from({ length: active.length }, (_, at) => active.getLine(at)).filter((line) => line !== undefined)
  }

  /** All rows, those that have gone up out of sight, too, without the blanks at their ends. */
  get rows(): ReadonlyArray<string> {
    const rows = this.#lines.map((line) => line.translateToString(true).trimEnd())
    return rows.slice(0, rows.findLastIndex((row) => row !== "") + 1)
  }

  /** Rows that go on with what did not fit into the one before. */
  get wrapped(): ReadonlyArray<string> {
    return this.#lines.filter(({ isWrapped }) => isWrapped).map((line) => line.translateToString(true))
  }

  /** Where the next character goes, in rows and columns from 0. */
  get cursor(): readonly [row: number, column: number] {
    const { baseY, cursorX, cursorY } = this.#terminal.buffer.active
    return [baseY + cursorY, cursorX]
  }
}

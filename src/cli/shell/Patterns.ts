/**
 * Words of a line as patterns. What a person quoted stands for itself, which the text of a word does not show any more;
 * so the shell provides the patterns of the words that had something quoted.
 */
import { Context } from "effect"
import type { Word } from "./Tokenizer.ts"

export const Patterns = Context.Reference<ReadonlyMap<string, string>>("fip/cli/shell/Patterns", {
  defaultValue: () => new Map()
})

/** The patterns of the words of a line, by their texts. */
export const patternsOf = (words: ReadonlyArray<Word>): ReadonlyMap<string, string> =>
  new Map(words.flatMap(({ pattern, text }) => pattern === undefined ? [] : [[text, pattern]]))

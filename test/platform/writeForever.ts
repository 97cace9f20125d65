/** A process of its own for the tests: replaces a file over and over, with contents of one letter, until it is killed. */
import { Effect } from "effect"
import { stdout } from "node:process"
import { writeAtomically } from "../../src/platform/AtomicFile.ts"

const SIZE = 1_000_000
for (let round = 0;; round++) {
  await Effect.runPromise(writeAtomically(process.argv[2] ?? "", String.fromCharCode(97 + round % 26).repeat(SIZE)))
  stdout.write(".")
}

/** Commands for what runs beside the prompt. */
import { Effect, Option } from "effect"
import { Argument } from "effect/cli"
import { ExitStatus, InnerFailed, UsageError } from "../Failure.ts"
import { formatCount } from "../format.ts"
import { type Job, Jobs } from "../Jobs.ts"
import { table } from "../Output.ts"
import { shellCommand } from "../ShellCommand.ts"
import { ValueKind } from "../ValueKind.ts"

const JOBS = "`jobs` (an array of `job`, `line`, `state`: `running`, `done`, `failed` or `cancelled`, `progress`, " +
  "`status`: the exit status that the line would have had)"

const resultOf = (jobs: ReadonlyArray<Job>) => ({
  jobs: jobs.map(({ line, number, progress, state, status }) => ({ job: number, line, state, progress, status }))
})

const job = Argument.Int("job").pipe(
  Argument.withMetavar(ValueKind.JOB),
  Argument.withDescription("its number, as JOBS shows it")
)

const missing = (number: number): UsageError => new UsageError({ message: `no job ${number} is running` })

const jobs = shellCommand({
  name: "JOBS",
  session: false,
  summary: "List what runs in the background (a line that ends in & starts it), and what has ended since the last time",
  examples: [{ command: "JOBS" }],
  json: JOBS,
  input: {},
  run: Effect.fnUntraced(function*() {
    const jobs = yield* (yield* Jobs).take
    const rows = jobs.map(({ line, number, progress, state }) => [String(number), state, progress, line])
    const columns = [{ title: "JOB", right: true }, { title: "STATE" }, { title: "PROGRESS" }, {
      title: "LINE",
      cuts: true
    }]
    const message = formatCount(jobs.length, "job")
    const text = jobs.length === 0 ? {} : { text: yield* table(columns, rows) }
    return { code: "local:ok", message, result: resultOf(jobs), ...text }
  })
})

const cancel = shellCommand({
  name: "CANCEL",
  session: false,
  summary: "End a job; a transfer can be taken up later by the same command",
  examples: [{ command: "CANCEL 1" }],
  json: "`job`",
  input: { job },
  run: Effect.fnUntraced(function*(input) {
    if (!(yield* (yield* Jobs).cancel(input.job))) return yield* missing(input.job)
    return { code: "local:ok", message: `cancelled job ${input.job}`, result: { job: input.job } }
  })
})

const wait = shellCommand({
  name: "WAIT",
  session: false,
  summary: "Wait until a job has ended, or all of them; fails when one of them has failed",
  examples: [{ command: "WAIT" }],
  json: JOBS,
  input: { job: Argument.optional(job) },
  run: Effect.fnUntraced(function*(input) {
    const all = yield* Jobs
    const number = Option.getOrUndefined(input.job)
    yield* all.wait(number)
    const jobs = (yield* all.take).filter((job) => number === undefined || job.number === number)
    if (number !== undefined && jobs.length === 0) return yield* missing(number)
    const failed = jobs.filter(({ status }) => status !== ExitStatus.DONE)
    const [first] = failed
    if (first !== undefined) {
      const message = `${formatCount(failed.length, "job")} failed, of ${jobs.length}: the first was ${first.line}`
      return yield* new InnerFailed({ status: first.status, message })
    }
    return { code: "local:ok", message: `${formatCount(jobs.length, "job")} done`, result: resultOf(jobs) }
  })
})

export const jobCommands = [jobs, cancel, wait] as const

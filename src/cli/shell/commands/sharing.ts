/** Commands that share files with other people. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { FipClient } from "../../../client/FipClient.ts"
import { formatFileRef, parseFileName } from "../../../protocol/FileName.ts"
import { formatTime } from "../format.ts"
import { duration, file, role, target, targetOf, user } from "../inputs.ts"
import { shellCommand } from "../ShellCommand.ts"
import { WRITTEN, written } from "./files.ts"

const grant = shellCommand({
  name: "GRANT",
  summary: "Let somebody read, edit or manage a file; granting again replaces role and time",
  examples: [
    { command: "GRANT bob_jones notes.txt READ" },
    { command: "GRANT bob_jones docs/plan.md EDIT --duration 7d" }
  ],
  json: "`owner`, `name`, `username`, `role`, `granted_by`, `granted_at`; `expires_at` unless permanent",
  input: { user: user("who gets the role"), file, role, duration },
  run: Effect.fnUntraced(function*({ duration, file, role, user }) {
    const client = yield* FipClient
    const result = yield* client.grant(user, file, role, { durationMs: duration })
    const until = result.expires_at === undefined ? "" : ` until ${formatTime(result.expires_at)}`
    return { code: "1:gnt", message: `${user} may ${role} ${formatFileRef(file)}${until}`, result }
  })
})

const revoke = shellCommand({
  name: "REVOKE",
  summary: "Take back what was granted to somebody",
  examples: [{ command: "REVOKE bob_jones notes.txt" }],
  json: "`owner`, `name`, `username`, `role` (the one that was taken back)",
  input: { user: user("who loses the role"), ...target },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.revoke(input.user, file)
    return { code: "1:rvk", message: `${input.user} may no longer ${result.role} ${formatFileRef(file)}`, result }
  })
})

const publicise = shellCommand({
  name: "PUBLICISE",
  summary: "Let every account on the server read a file",
  examples: [{ command: "PUBLICISE handbook.pdf" }],
  json: "`owner`, `name`, `public`",
  input: target,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.publicise(file)
    return { code: "1:pub", message: `everybody may read ${formatFileRef(file)}`, result }
  })
})

const hide = shellCommand({
  name: "HIDE",
  summary: "End what PUBLICISE began; grants stay as they are",
  examples: [{ command: "HIDE handbook.pdf" }],
  json: "`owner`, `name`, `public`",
  input: target,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.hide(file)
    return { code: "1:hide", message: `${formatFileRef(file)} is public no more`, result }
  })
})

const transfer = shellCommand({
  name: "TRANSFER",
  summary: "Make somebody else the owner of a file; you stay a manager of it",
  examples: [
    { command: "TRANSFER bob_jones notes.txt" },
    { command: "TRANSFER bob_jones notes.txt --as from-alice.txt", description: "when Bob has a notes.txt already" }
  ],
  json: WRITTEN,
  input: {
    user: user("the new owner"),
    ...target,
    as: Flag.String("as").pipe(
      Flag.withMetavar("name"),
      Flag.filterMap((text) => Option.getSuccess(parseFileName(text)), () => "a file name"),
      Flag.withDescription("its name among the new owner's files"),
      Flag.optional
    )
  },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const result = yield* client.transfer(input.user, file, { newName: Option.getOrUndefined(input.as) })
    return written("1:sft", `gave ${formatFileRef(file)} to ${input.user}`, result)
  })
})

export const sharingCommands = [grant, revoke, publicise, hide, transfer] as const

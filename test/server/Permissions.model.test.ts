/**
 * Random histories of grants, revokes, publications, transfers and clock steps, against a model that is too simple to
 * be wrong. Every outcome is compared, and again and again everybody's role on every file, all grants and all usage.
 */
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Username } from "../../src/protocol/Identity.ts"
import type { GrantRole, Role } from "../../src/protocol/Permission.ts"
import { Refusal } from "../../src/protocol/Refusal.ts"
import type { Caller } from "../../src/server/Caller.ts"
import { Permissions } from "../../src/server/Permissions.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { layer, nameOf, newFile, newPerson, roleOn, usageOf } from "./permissions/world.ts"

const NAMES = [nameOf("a.txt"), nameOf("b/c.txt"), nameOf("d.txt")]
/** Of the file that each person begins with. */
const SIZES = [2, 1, 3]
const PEOPLE = SIZES.length
/** Whom no server knows. */
const STRANGER = PEOPLE
/** Of bytes and of files: nobody has room for all. */
const LIMIT = 4

/** Who asks for what: resolved when its turn comes, because files change hands. */
interface Target {
  readonly file: number
  /** `undefined`: the file's owner. */
  readonly caller: number | undefined
  /** The owner has no file of the name that is asked for. */
  readonly missing: boolean
}

type Step =
  | Target & {
    readonly _tag: "Grant"
    readonly user: number
    readonly role: GrantRole
    readonly duration: number | undefined
  }
  | Target & { readonly _tag: "Revoke"; readonly user: number }
  | Target & { readonly _tag: "Publicise" | "Hide" }
  | Target & { readonly _tag: "Transfer"; readonly user: number; readonly newName: number | undefined }
  | Target & { readonly _tag: "Query" }
  | { readonly _tag: "Tick"; readonly millis: number }

const person = fc.nat(PEOPLE - 1)
const user = fc.oneof({ weight: 12, arbitrary: person }, { weight: 1, arbitrary: fc.constant(STRANGER) })
const name = fc.nat(NAMES.length - 1)
const millis = fc.integer({ min: 1, max: 4 }).map((n) => n * 1000)
const target: fc.Arbitrary<Target> = fc.record({
  file: person,
  caller: fc.option(person, { nil: undefined, freq: 3 }),
  missing: fc.integer({ min: 0, max: 15 }).map((n) => n === 0)
})
const stepOf = <A extends object>(weight: number, fields: fc.Arbitrary<A>) => ({
  weight,
  arbitrary: fc.tuple(target, fields).map(([target, rest]) => Object.assign({}, target, rest))
})

const step: fc.Arbitrary<Step> = fc.oneof(
  stepOf(
    8,
    fc.record({
      _tag: fc.constant("Grant" as const),
      user,
      role: fc.constantFrom("READ", "EDIT", "MANAGE", "MANAGE", "MANAGE"),
      duration: fc.option(millis, { nil: undefined, freq: 2 })
    })
  ),
  stepOf(3, fc.record({ _tag: fc.constant("Revoke" as const), user })),
  stepOf(2, fc.record({ _tag: fc.constantFrom("Publicise" as const, "Hide" as const) })),
  stepOf(
    3,
    fc.record({ _tag: fc.constant("Transfer" as const), user, newName: fc.option(name, { nil: undefined, freq: 2 }) })
  ),
  stepOf(1, fc.record({ _tag: fc.constant("Query" as const) })),
  { weight: 3, arbitrary: fc.record({ _tag: fc.constant("Tick" as const), millis }) }
)

/** A step with all that it is about. */
type Attempt = Exclude<Step, { _tag: "Tick" }> & {
  readonly caller: number
  readonly owner: number
  readonly name: number
}

interface ModelFile {
  owner: number
  name: number
  readonly size: number
  isPublic: boolean
  readonly grants: Map<number, { readonly role: GrantRole; readonly until: number }>
}

/** What should happen. A step's outcome is the code of its refusal, or `done`. */
class Model {
  readonly files: Array<ModelFile> = []

  constructor() {
    for (const [owner, size] of SIZES.entries()) {
      this.files.push({ owner, name: owner, size, isPublic: false, grants: new Map() })
    }
  }

  find(owner: number, name: number): ModelFile | undefined {
    return this.files.find((file) => file.owner === owner && file.name === name)
  }

  role(caller: number, file: ModelFile, now: number): Role | undefined {
    if (file.owner === caller) return "OWNER"
    const grant = file.grants.get(caller)
    if (grant !== undefined && now < grant.until) return grant.role
    return file.isPublic ? "READ" : undefined
  }

  usage(owner: number): { readonly bytes: number; readonly files: number } {
    const own = this.files.filter((file) => file.owner === owner)
    return { bytes: own.reduce((sum, file) => sum + file.size, 0), files: own.length }
  }

  resolve(step: Exclude<Step, { _tag: "Tick" }>): Attempt {
    const { name, owner } = this.files[step.file] ?? { name: 0, owner: 0 }
    const free = NAMES.findIndex((_, index) => this.find(owner, index) === undefined)
    return { ...step, caller: step.caller ?? owner, owner, name: step.missing && free >= 0 ? free : name }
  }

  expect(step: Attempt, now: number): string {
    const file = this.find(step.owner, step.name)
    if (file === undefined) return "2:nf"
    const role = this.role(step.caller, file, now)
    if (role === undefined) return "2:nf"
    const isOwner = role === "OWNER"
    const mayShare = isOwner || role === "MANAGE"
    switch (step._tag) {
      case "Query":
        return mayShare ? "done" : "2:perm"
      case "Publicise":
      case "Hide":
        if (!isOwner) return "2:perm"
        file.isPublic = step._tag === "Publicise"
        return "done"
      case "Grant": {
        if (!(step.role === "MANAGE" ? isOwner : mayShare)) return "2:perm"
        if (step.user === STRANGER) return "2:unf"
        if (step.user === file.owner || step.user === step.caller) return "2:opcf"
        if (this.role(step.user, file, now) === "MANAGE" && !isOwner) return "2:perm"
        file.grants.set(step.user, { role: step.role, until: now + (step.duration ?? Infinity) })
        return "done"
      }
      case "Revoke": {
        if (!mayShare) return "2:perm"
        if (step.user === STRANGER) return "2:unf"
        const grant = file.grants.get(step.user)
        if (grant === undefined || now >= grant.until) return "2:opcf"
        if (grant.role === "MANAGE" && !isOwner) return "2:perm"
        file.grants.delete(step.user)
        return "done"
      }
      case "Transfer": {
        if (!isOwner) return "2:perm"
        if (step.user === STRANGER) return "2:unf"
        if (step.user === step.caller) return "2:opcf"
        const { bytes, files } = this.usage(step.user)
        if (files + 1 > LIMIT) return "2:fof"
        if (file.size > 0 && bytes + file.size > LIMIT) return "2:quota"
        const newName = step.newName ?? file.name
        if (this.find(step.user, newName) !== undefined) return "2:cnf"
        file.grants.delete(step.user)
        file.grants.set(file.owner, { role: "MANAGE", until: Infinity })
        file.owner = step.user
        file.name = newName
        return "done"
      }
    }
  }
}

const perform = (
  permissions: Permissions["Service"],
  people: ReadonlyArray<Caller>,
  step: Attempt
): Effect.Effect<unknown, Refusal> => {
  const usernameOf = (index: number): Username => people[index]?.username ?? Username.make("Stranger")
  const caller = people[step.caller]
  const name = NAMES[step.name]
  if (caller === undefined || name === undefined) return Effect.die("no such person or name")
  // One's own files are named without their owner as well.
  const file = step.owner === step.caller && step.name > 0 ? { name } : { owner: usernameOf(step.owner), name }
  switch (step._tag) {
    case "Query":
      return permissions.queryPermission(caller, file)
    case "Publicise":
      return permissions.publicise(caller, file)
    case "Hide":
      return permissions.hide(caller, file)
    case "Grant": {
      const duration = step.duration === undefined ? {} : { duration_ms: step.duration }
      return permissions.grant(caller, { ...file, username: usernameOf(step.user), role: step.role, ...duration })
    }
    case "Revoke":
      return permissions.revoke(caller, { ...file, username: usernameOf(step.user) })
    case "Transfer": {
      const newName = step.newName === undefined ? undefined : NAMES[step.newName]
      return permissions.transfer(caller, {
        ...file,
        username: usernameOf(step.user),
        ...(newName === undefined ? {} : { new_name: newName })
      })
    }
  }
}

const outcomeOf = (attempt: Effect.Effect<unknown, Refusal>): Effect.Effect<string> =>
  Effect.match(attempt, { onSuccess: () => "done", onFailure: (refusal) => refusal.code })

/** Compares everything that can be seen: roles, grants and usage. */
const compare = Effect.fnUntraced(function*(model: Model, people: ReadonlyArray<Caller>, at: string) {
  const permissions = yield* Permissions
  const now = yield* Clock.currentTimeMillis
  const seen = people.flatMap((caller, c) =>
    people.flatMap((owner, o) => NAMES.map((name, n) => ({ caller, c, owner, o, name, n })))
  )
  const roles = yield* Effect.forEach(seen, ({ caller, name, owner }) => roleOn(caller, owner, name), {
    concurrency: "unbounded"
  })
  const expected = seen.map(({ c, n, o }) => {
    const file = model.find(o, n)
    return file === undefined ? undefined : model.role(c, file, now)
  })
  assert.deepStrictEqual(roles, expected, at)
  for (const file of model.files) {
    const [owner, name] = [people[file.owner], NAMES[file.name]]
    if (owner === undefined || name === undefined) return yield* Effect.die("no such person or name")
    const { grants } = yield* Effect.orDie(permissions.queryPermission(owner, { name }))
    assert.sameDeepMembers(
      grants.map((grant) => [grant.username, grant.role, Date.parse(grant.expires_at ?? "9999-12-31")]),
      Array.from(file.grants).filter(([, { until }]) => now < until).map(([user, { role, until }]) => [
        people[user]?.username,
        role,
        Math.min(until, Date.parse("9999-12-31"))
      ]),
      at
    )
  }
  assert.deepStrictEqual(yield* Effect.forEach(people, usageOf), people.map((_, index) => model.usage(index)), at)
})

const history = Effect.fnUntraced(function*(steps: ReadonlyArray<Step>) {
  const permissions = yield* Permissions
  const people = yield* Effect.all(Array.from({ length: PEOPLE }, () => newPerson({ bytes: LIMIT, files: LIMIT })))
  const model = new Model()
  for (const file of model.files) {
    const [owner, name] = [people[file.owner], NAMES[file.name]]
    if (owner !== undefined && name !== undefined) yield* newFile(owner, name, file.size)
  }
  for (const [index, step] of steps.entries()) {
    const at = `step ${index}: ${JSON.stringify(step)}`
    const now = yield* Clock.currentTimeMillis
    if (step._tag === "Tick") {
      yield* TestClock.adjust(step.millis)
    } else {
      const attempt = model.resolve(step)
      assert.strictEqual(yield* outcomeOf(perform(permissions, people, attempt)), model.expect(attempt, now), at)
    }
    if (step._tag === "Tick" || step._tag === "Transfer") yield* compare(model, people, at)
  }
  yield* compare(model, people, "at the end")
})

it.layer(Layer.provideMerge(layer, TestDatabase.pglite))("Permissions, against a model", (it) => {
  it.effect("no history gives anybody more or less than it should", () =>
    Effect.gen(function*() {
      const run = Effect.runPromiseWith(yield* Effect.context<SqlClient | Layer.Success<typeof layer>>())
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.array(step, { minLength: 5, maxLength: 40, size: "max" }),
            (steps) => run(history(steps))
          ),
          // On a slow machine fewer histories are enough.
          { numRuns: 80, interruptAfterTimeLimit: 15_000 }
        )
      )
    }))
})

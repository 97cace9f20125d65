/**
 * All tables as lines of text, and back: what a backup keeps of a database, whichever of the two it is.
 *
 * A line is a table with its columns, a row of it as PostgreSQL writes its values as text, or a sequence. Tables come in
 * the order in which they refer to each other, and extents in the order of the segments, so that whoever reads a backup
 * meets the blocks of each segment together. All of it is seen at one moment: a transaction of REPEATABLE READ.
 */
import { Effect, Schema } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type Refusal, refuse } from "../../protocol/Refusal.ts"
import { texts } from "../files/parameters.ts"
import { backupRefusal } from "./BackupFolder.ts"
import { type LineWriter, readLines } from "./Lines.ts"

/** Rows that are fetched, or inserted, at once. */
const FETCH_ROWS = 2000
const INSERT_ROWS = 500

/** What belongs to running servers and not to files; unfinished uploads begin again after a restore. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  commits: "false",
  migrations: "false",
  nodes: "false",
  open_segments: "false",
  store: "false",
  upload_runs: "false",
  uploads: "outcome is not null"
}

const ORDER: Readonly<Record<string, string>> = { extents: "segment_id, checked_from" }

const Line = Schema.Union([
  Schema.Array(Schema.NullOr(Schema.String)),
  Schema.Struct({ table: Schema.String, columns: Schema.Array(Schema.String) }),
  Schema.Struct({ sequence: Schema.String, value: Schema.Number })
])
export type Line = typeof Line.Type
const decodeLine = Schema.decodeUnknownOption(Line)

export const isRow = (line: Line): line is ReadonlyArray<string | null> => Array.isArray(line)

const quoted = (name: string): string => `"${name.replaceAll("\"", "\"\"")}"`

interface Column {
  readonly table: string
  readonly name: string
  readonly type: string
}

/** Columns that are written, in their order. */
const columns = (sql: SqlClient): Effect.Effect<ReadonlyArray<Column>, SqlError> =>
  sql<Column>`
    select c.relname::text as table, a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
      and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by c.relname, a.attnum`

/** Tables, each after those that it refers to. */
const inOrder = Effect.fnUntraced(function*(sql: SqlClient, tables: ReadonlyArray<string>) {
  const references = yield* sql<{ readonly from: string; readonly to: string }>`
    select f.relname::text as from, t.relname::text as to
    from pg_constraint k join pg_class f on f.oid = k.conrelid join pg_class t on t.oid = k.confrelid
    where k.contype = 'f' and k.connamespace = current_schema()::regnamespace`
  const ordered = new Set<string>()
  const place = (table: string): void => {
    if (ordered.has(table)) return
    for (const { from, to } of references) if (from === table && to !== table) place(to)
    ordered.add(table)
  }
  for (const table of tables) place(table)
  return [...ordered]
})

export interface Dumped {
  readonly rows: number
  readonly files: number
  /** What extents say of the segments. */
  readonly segments: number
  readonly segmentBytes: number
  readonly migration: number
}

/** Writes all tables, as they are at one moment. */
export const dump = Effect.fnUntraced(function*(
  sql: SqlClient,
  writer: LineWriter,
  progress: (rows: number) => void
): Effect.fn.Return<Dumped, SqlError | Refusal> {
  const write = (lines: ReadonlyArray<string>) =>
    Effect.tryPromise({ try: () => writer.write(lines), catch: backupRefusal("the folder") })
  return yield* sql.withTransaction(Effect.gen(function*() {
    yield* sql`set transaction isolation level repeatable read, read only`
    yield* sql`set local timezone to 'UTC'`
    yield* sql`set local datestyle to 'ISO'`
    yield* sql`set local bytea_output to 'hex'`
    yield* sql`set local extra_float_digits to 1`
    const all = Map.groupBy(yield* columns(sql), (column) => column.table)
    let rows = 0
    for (const table of yield* inOrder(sql, [...all.keys()])) {
      const condition = LEFT_OUT[table] ?? "true"
      if (condition === "false") continue
      const names = (all.get(table) ?? []).map((column) => column.name)
      yield* write([JSON.stringify({ table, columns: names })])
      const values = names.map((name) => `${quoted(name)}::text`).join(", ")
      yield* sql.unsafe(
        `declare fip_backup no scroll cursor for select array_to_json(array[${values}]::text[])::text as line
         from ${quoted(table)} where ${condition}${ORDER[table] === undefined ? "" : ` order by ${ORDER[table]}`}`
      )
      while (true) {
        const page = yield* sql.unsafe<{ readonly line: string }>(`fetch ${FETCH_ROWS} from fip_backup`)
        yield* write(page.map((row) => row.line))
        rows += page.length
        progress(rows)
        if (page.length < FETCH_ROWS) break
      }
      yield* sql`close fip_backup`
    }
    const sequences = yield* sql<{ readonly sequence: string; readonly value: number }>`
      select sequencename::text as sequence, last_value as value from pg_sequences
      where schemaname = current_schema() and last_value is not null`
    yield* write(sequences.map((one) => JSON.stringify(one)))
    const [found] = yield* sql<Omit<Dumped, "rows">>`
      select
        (select count(*) from files where deleted_at is null) as files,
        (select count(distinct segment_id) from extents) as segments,
        (select coalesce(sum(s.bytes), 0)::bigint
          from (select max(checked_to) as bytes from extents group by segment_id) s) as "segmentBytes",
        (select max(migration_id)::bigint from migrations) as migration`
    return { rows, ...found ?? { files: 0, segments: 0, segmentBytes: 0, migration: 0 } }
  }))
})

/** The lines of a dump. Throws a `Refusal` for one that is none. */
export async function* readDump(path: string): AsyncGenerator<Line, void> {
  for await (const text of readLines(path)) {
    const line = decodeLine(JSON.parse(text))
    if (line._tag === "None") throw refuse("3:bad", `${path} is damaged: it has a line that is none`)
    yield line.value
  }
}

/** Puts what a dump has into tables that are there. To be run in a transaction; triggers do not hear of it. */
export const load = Effect.fnUntraced(function*(
  sql: SqlClient,
  path: string,
  progress: (rows: number) => void
): Effect.fn.Return<number, SqlError | Refusal> {
  const known = Map.groupBy(yield* columns(sql), (column) => column.table)
  const touched = (yield* inOrder(sql, [...known.keys()])).filter((table) => LEFT_OUT[table] !== "false")
  for (const table of touched.toReversed()) {
    yield* sql.unsafe(`alter table ${quoted(table)} disable trigger user`)
    // What the migrations have put there is in the dump, too.
    yield* sql.unsafe(`delete from ${quoted(table)}`)
  }

  let rows = 0
  let insert = ""
  let width = 0
  let batch: Array<ReadonlyArray<string | null>> = []
  const flush = Effect.suspend((): Effect.Effect<unknown, SqlError> => {
    if (batch.length === 0) return Effect.void
    const values = Array.from({ length: width }, (_, index) => texts(batch.map((row) => row[index] ?? null)))
    rows += batch.length
    batch = []
    progress(rows)
    return sql.unsafe(insert, values)
  })
  const lines = readDump(path)
  const next = Effect.tryPromise({ try: () => lines.next(), catch: backupRefusal(path) })
  for (let step = yield* next; step.done !== true; step = yield* next) {
    const line = step.value
    if (isRow(line)) {
      if (line.length !== width) return yield* refuse("3:bad", `${path} is damaged: a row has too few values`)
      batch.push(line)
      if (batch.length >= INSERT_ROWS) yield* flush
    } else if ("table" in line) {
      yield* flush
      const types = new Map(known.get(line.table)?.map((column) => [column.name, column.type]))
      const missing = line.columns.find((name) => !types.has(name))
      if (missing !== undefined || LEFT_OUT[line.table] === "false") {
        return yield* refuse("3:bad", `${path} has the column ${line.table}.${missing ?? "*"}, which this fip does not`)
      }
      width = line.columns.length
      insert = `insert into ${quoted(line.table)} (${line.columns.map(quoted).join(", ")}) overriding system value
        select ${line.columns.map((name, index) => `c${index}::${types.get(name)}`).join(", ")}
        from unnest(${line.columns.map((_, index) => `$${index + 1}::text[]`).join(", ")})
        as r (${line.columns.map((_, index) => `c${index}`).join(", ")})`
    } else {
      yield* flush
      yield* sql`select setval(${quoted(line.sequence)}::regclass, ${line.value}::bigint)`
    }
  }
  yield* flush
  for (const table of touched) yield* sql.unsafe(`alter table ${quoted(table)} enable trigger user`)
  return rows
})

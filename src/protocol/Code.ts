/**
 * Reply codes (docs/protocol.md, section 5): `0:` in progress, `1:` done, `2:` the client's fault, `3:` the server's.
 */
import { Schema } from "effect"

export const ProgressCode = Schema.Literals(["0:read"])

export const SuccessCode = Schema.Literals([
  "1:hb",
  "1:qa",
  "1:unew",
  "1:udel",
  "1:auth",
  "1:ref",
  "1:pw",
  "1:bye",
  "1:fnew",
  "1:read",
  "1:amnd",
  "1:many",
  "1:fdel",
  "1:ren",
  "1:cpy",
  "1:rst",
  "1:ubeg",
  "1:upart",
  "1:uabt",
  "1:gnt",
  "1:rvk",
  "1:pub",
  "1:hide",
  "1:sft",
  "1:lock",
  "1:unlk"
])
export type SuccessCode = typeof SuccessCode.Type

export const ClientFaultCode = Schema.Literals([
  /** header cannot be parsed; the connection closes */
  "2:ihs",
  /** header parsed, a value in it is out of range */
  "2:ihv",
  /** unsupported protocol version */
  "2:ver",
  /** unknown category or subcategory */
  "2:unop",
  /** a component is larger than its cap */
  "2:big",
  /** a component is not JSON */
  "2:njs",
  /** auth component of the wrong shape */
  "2:ias",
  /** body of the wrong shape, or a field out of range */
  "2:ibv",
  /** too slow: a component did not arrive in time */
  "2:unsp",
  /** too many requests or attempts; `retry_after_ms` says when to try again */
  "2:rlex",
  /** not logged in, wrong credentials, or a session that has ended */
  "2:auth",
  /** access token expired: refresh and repeat */
  "2:exp",
  /** user name taken */
  "2:dup",
  /** registration is not open */
  "2:reg",
  /** no such user */
  "2:unf",
  /** no such file, or none that the caller may see */
  "2:nf",
  /** the caller may see the file, not do this to it */
  "2:perm",
  /** a file of that name exists already */
  "2:cnf",
  /** conflicts with the state it meets (granting to oneself, an upload that ended, …) */
  "2:opcf",
  /** not the version the caller expected; the body names the current one */
  "2:vcf",
  /** the point to go on from is not kept any more; the body names where the feed is now */
  "2:gone",
  /** somebody else holds the file's lock; the body says who, and until when */
  "2:lock",
  /** over the quota of bytes */
  "2:quota",
  /** over the quota of files */
  "2:fof",
  /** content does not match its checksum */
  "2:sum"
])
export type ClientFaultCode = typeof ClientFaultCode.Type

export const ServerFaultCode = Schema.Literals([
  /** unexpected; logged with the request's id */
  "3:?",
  /** the server gave up waiting for something of its own */
  "3:t",
  /** shutting down */
  "3:s",
  /** database not available */
  "3:db",
  /** out of disk space, or the disk failed */
  "3:disk",
  /** stored content is damaged */
  "3:bad"
])
export type ServerFaultCode = typeof ServerFaultCode.Type

export const RefusalCode = Schema.Union([ClientFaultCode, ServerFaultCode])
export type RefusalCode = typeof RefusalCode.Type

export const Code = Schema.Union([ProgressCode, SuccessCode, ClientFaultCode, ServerFaultCode])
export type Code = typeof Code.Type

/** True for `0:` and `1:` codes. */
export const isSuccess = (code: string): boolean => code.startsWith("1:") || code.startsWith("0:")

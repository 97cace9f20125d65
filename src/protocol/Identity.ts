/** Names, ids and secrets, as brands: a string that is one of these has been checked. */
import { Schema } from "effect"

/** 4–64 letters, digits, `_` or `-`. Unique without regard to case; shown as it was registered. */
export const Username = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{4,64}$/, {
    message: "a user name has 4 to 64 characters: letters, digits, _ and -"
  })
).pipe(Schema.brand("Username"))
export type Username = typeof Username.Type

const utf8 = new TextEncoder()

/** 8–256 bytes of UTF-8, taken as they are: nothing is trimmed or folded. */
export const Password = Schema.String.check(
  Schema.makeFilter((value: string) => {
    // Every lone surrogate would be encoded as the same three bytes.
    if (!value.isWellFormed()) return "a password is text in Unicode"
    const bytes = value.length > 256 ? value.length : utf8.encode(value).length
    return bytes >= 8 && bytes <= 256 ? undefined : "a password has 8 to 256 bytes"
  })
).pipe(Schema.brand("Password"))
export type Password = typeof Password.Type

/** A session (one login on one device, and all the tokens that come from it): a UUID. */
export const SessionId = Schema.String.check(Schema.isUUID(undefined, { message: "a session id is a UUID" })).pipe(
  Schema.brand("SessionId")
)
export type SessionId = typeof SessionId.Type

/** Identifies the device that logs in: chosen at random by the client, kept with its session. */
export const DeviceId = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{8,64}$/, {
    message: "a device id has 8 to 64 characters: letters, digits, _ and -"
  })
).pipe(Schema.brand("DeviceId"))
export type DeviceId = typeof DeviceId.Type

/** An invitation to register, as an administrator hands it out. */
export const InviteCode = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9 -]{8,64}$/, {
    message: "an invitation has 8 to 64 characters: letters, digits, blanks and dashes"
  })
).pipe(Schema.brand("InviteCode"))
export type InviteCode = typeof InviteCode.Type

/** Short-lived proof of a session, opaque to the client. */
export const AccessToken = Schema.String.check(
  Schema.isMaxLength(1024, { message: "an access token has at most 1024 characters" })
).pipe(Schema.brand("AccessToken"))
export type AccessToken = typeof AccessToken.Type

/** 256 random bits in base64url; usable once. */
export const RefreshDigest = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{43}$/, { message: "a refresh digest has 43 characters of base64url" })
).pipe(Schema.brand("RefreshDigest"))
export type RefreshDigest = typeof RefreshDigest.Type

/** An upload in progress: a UUID. */
export const UploadId = Schema.String.check(Schema.isUUID(undefined, { message: "an upload id is a UUID" })).pipe(
  Schema.brand("UploadId")
)
export type UploadId = typeof UploadId.Type

/** SHA-256 as 64 lower-case hexadecimal digits. */
export const Sha256 = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{64}$/, { message: "a SHA-256 is written as 64 lower-case hexadecimal digits" })
).pipe(Schema.brand("Sha256"))
export type Sha256 = typeof Sha256.Type

/** SHA-256 of a server key's SPKI, as `SHA256:` and 43 characters of unpadded base64 (the form OpenSSH shows). */
export const Fingerprint = Schema.String.check(
  Schema.isPattern(/^SHA256:[A-Za-z0-9+/]{43}$/, {
    message: "a fingerprint is written as SHA256: and 43 characters of base64"
  })
).pipe(Schema.brand("Fingerprint"))
export type Fingerprint = typeof Fingerprint.Type

/** An instant of the server's clock: ISO 8601 in UTC with milliseconds, `2026-11-22T08:00:00.000Z`. */
export const Timestamp = Schema.String.check(
  Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, {
    message: "an instant is written as 2026-11-22T08:00:00.000Z"
  })
).pipe(Schema.brand("Timestamp"))
export type Timestamp = typeof Timestamp.Type

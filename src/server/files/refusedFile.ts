/** A refusal of one file of a batch, as an entry of the answer. */
import type { FileName } from "../../protocol/FileName.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import type { FileRefused } from "../../protocol/Request.ts"

export const refusedFile = (name: FileName, { body, code }: Refusal): FileRefused => ({ name, code, ...body })

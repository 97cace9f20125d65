/**
 * New keys, and certificates for them. The only module that loads the X.509 library, and only when it makes a
 * certificate: that takes as long as all the rest of a start.
 */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, webcrypto } from "node:crypto"
import { promisify } from "node:util"

const ECDSA_P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

/** RFC 5280's "no well-defined expiration": clients pin the key, and nobody reads the certificate's dates. */
const NEVER = new Date("9999-12-31T23:59:59Z")

/** A peer's clock may be behind. */
const ONE_DAY = 86_400_000

/** A file's or a certificate's bytes in the form of RFC 7468. */
export const pem = (label: string, der: Uint8Array | ArrayBuffer): string => {
  const bytes = der instanceof ArrayBuffer ? Buffer.from(der) : Buffer.from(der.buffer, der.byteOffset, der.length)
  return `-----BEGIN ${label}-----\n${bytes.toString("base64").replace(/.{1,64}/g, "$&\n")}-----END ${label}-----\n`
}

const generate = promisify(generateKeyPair)

/** A private key on P-256. */
export const makeKey = async (): Promise<KeyObject> => (await generate("ec", { namedCurve: "P-256" })).privateKey

/** PKCS #8. */
export const keyBytes = (key: KeyObject): Buffer => key.export({ type: "pkcs8", format: "der" })

export const keyPem = (key: KeyObject): string => pem("PRIVATE KEY", keyBytes(key))

/** Throws when it is no key. */
export const readKey = (pkcs8: Buffer): KeyObject => createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })

/** A certificate that the key signs itself, as PEM. */
export const certify = async (key: KeyObject, now: number): Promise<string> => {
  await import("reflect-metadata")
  const { X509CertificateGenerator } = await import("@peculiar/x509")
  const { subtle } = webcrypto
  const spki = createPublicKey(key).export({ type: "spki", format: "der" })
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=FIP server",
    notBefore: new Date(now - ONE_DAY),
    notAfter: NEVER,
    signingAlgorithm: ECDSA_P256,
    keys: {
      privateKey: await subtle.importKey("pkcs8", keyBytes(key), ECDSA_P256, true, ["sign"]),
      publicKey: await subtle.importKey("spki", spki, ECDSA_P256, true, ["verify"])
    }
  }, webcrypto)
  return pem("CERTIFICATE", certificate.rawData)
}

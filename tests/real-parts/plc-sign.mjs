// Signs the next operation of a did:plc and prints it; whoever asks sends it on.
//   node plc-sign.mjs INSTALLATION PLC_URL PRIVATE_KEY WANTED
// PRIVATE_KEY: one of the DID's rotation keys, secp256k1, in hexadecimal digits. WANTED: the DID under `did`, and what its
// document is to say, as com.atproto.identity.getRecommendedDidCredentials answers.
import { createRequire } from 'node:module'
import path from 'node:path'

const [installation, plcUrl, privateKey, wanted] = process.argv.slice(2)
// What the PDS itself signs with: its own dependencies, at its versions.
const pds = createRequire(path.join(path.resolve(installation), 'package.json')).resolve('@atproto/pds')
const require = createRequire(pds)
const { Client, createUpdateOp } = require('@did-plc/lib')
const { Secp256k1Keypair } = require('@atproto/crypto')

const { did, rotationKeys, alsoKnownAs, verificationMethods, services } = JSON.parse(wanted)
const last = await new Client(plcUrl).getLastOp(did)
const signer = await Secp256k1Keypair.import(privateKey)
const next = (now) => ({ ...now, rotationKeys, alsoKnownAs, verificationMethods, services })
console.log(JSON.stringify(await createUpdateOp(last, signer, next)))

// The official PDS on a free loopback port. When its stdin ends, it ends and takes DATA with it: a test that is killed
// leaves nothing behind.
//   node pds.mjs INSTALLATION DATA PLC_URL      prints {"port":N} once it answers
// PDS_ADMIN_PASSWORD and every other PDS_* setting may be given in the environment. PORT asks for a certain port: a
// second run over the same DATA needs the first one's, and the same PDS_JWT_SECRET and rotation key.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import loopback from './loopback.cjs'

const [installation, data, plcUrl] = process.argv.slice(2)
loopback.whenParentIsGone(() => {
  fs.rmSync(data, { recursive: true, force: true })
  process.exit(0)
})
const port = await loopback.claim(Number(process.env.PORT ?? 0))
const blobs = path.join(data, 'blobs')
fs.mkdirSync(blobs, { recursive: true })

const secret = () => randomBytes(32).toString('hex')
const settings = {
  // The PDS takes `localhost`, http addresses and `.test` handles in dev mode only.
  PDS_DEV_MODE: 'true',
  PDS_HOSTNAME: 'localhost',
  PDS_PORT: String(port),
  PDS_SERVICE_DID: `did:web:localhost%3A${port}`,
  PDS_SERVICE_HANDLE_DOMAINS: '.test',
  PDS_DATA_DIRECTORY: data,
  PDS_BLOBSTORE_DISK_LOCATION: blobs,
  PDS_DID_PLC_URL: plcUrl,
  // No relay is told about this host.
  PDS_CRAWLERS: '',
  PDS_INVITE_REQUIRED: 'true',
  PDS_JWT_SECRET: secret(),
  PDS_DPOP_SECRET: secret(),
  PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX: secret(),
  LOG_ENABLED: 'true',
  LOG_LEVEL: 'warn',
}
for (const [name, value] of Object.entries(settings)) process.env[name] ??= value

const require = createRequire(path.join(path.resolve(installation), 'package.json'))
const { PDS, envToCfg, envToSecrets, readEnv } = require('@atproto/pds')
const env = readEnv()
const pds = await PDS.create(envToCfg(env), envToSecrets(env))
await pds.start()
console.log(JSON.stringify({ port }))

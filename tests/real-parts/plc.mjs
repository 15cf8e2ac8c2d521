// The official PLC directory on a free loopback port, with its in-memory store. Ends when its stdin does.
//   node plc.mjs INSTALLATION          prints {"port":N} once it answers
import { createRequire } from 'node:module'
import path from 'node:path'
import loopback from './loopback.cjs'

loopback.whenParentIsGone(() => process.exit(0))
const port = await loopback.claim(Number(process.env.PORT ?? 0))
const require = createRequire(path.join(path.resolve(process.argv[2]), 'package.json'))
const { Database, PlcServer } = require('@did-plc/server')
await PlcServer.create({ db: Database.mock(), port }).start()
console.log(JSON.stringify({ port }))

// Neither the PDS nor the PLC directory takes a listen address: both bind every interface, and both must be told a port
// before they start. `claim()` binds a free loopback port first and keeps the socket; from then on whatever TCP server
// this process starts gets that socket. So nothing is reachable from outside, and no other process can take the port
// between its choice and its use.
'use strict'
const net = require('node:net')

exports.claim = (port = 0) =>
  new Promise((resolve, reject) => {
    const claimed = net.createServer()
    claimed.once('error', reject)
    claimed.listen(port, '127.0.0.1', () => {
      const listen = net.Server.prototype.listen
      net.Server.prototype.listen = function (first, ...rest) {
        const wantsTcp = typeof first === 'number' || (first && typeof first === 'object' && first.port !== undefined)
        const callback = rest.find((argument) => typeof argument === 'function')
        return wantsTcp ? listen.call(this, claimed, callback) : listen.call(this, first, ...rest)
      }
      resolve(claimed.address().port)
    })
  })

// Whoever starts us holds the other end of our stdin and never writes: when it is gone, however it went, so are we.
exports.whenParentIsGone = (end) => process.stdin.on('end', end).on('error', end).resume()

// Serves kinesis-local on a free loopback port: it would take fixed ports on every interface.
'use strict'

const net = require('net')
const path = require('path')

/** By its number it is told from the one for TLS. */
const PLAIN_PORT = 4568

const [folder] = process.argv.slice(2)
const home = path.join(folder, 'node_modules', 'kinesis-local')

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, done) {
  return listen.call(this, 0, '127.0.0.1', () => {
    if (port === PLAIN_PORT) console.log(`listening on 127.0.0.1:${this.address().port}`)
    done()
  })
}

process.env.KINESIS_MOCK_PLAIN_PORT = PLAIN_PORT
process.env.KINESIS_MOCK_CERT_PATH = path.join(home, 'server.json')
// Streams change state at once, so that tests do not wait half a second for each.
for (const change of ['CREATE_STREAM', 'SPLIT_SHARD', 'MERGE_SHARDS']) {
  process.env[`${change}_DURATION`] = '10ms'
}
require(path.join(home, 'main.js'))

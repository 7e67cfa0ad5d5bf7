// Serves kinesalite on a free loopback port: its own command listens on every interface.
'use strict'

const path = require('path')

const [folder] = process.argv.slice(2)
const kinesalite = require(path.join(folder, 'node_modules', 'kinesalite'))

// Streams change state at once, so that tests do not wait half a second for each.
const server = kinesalite({ shardLimit: 1000, createStreamMs: 10, deleteStreamMs: 10, updateStreamMs: 10 })
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`))

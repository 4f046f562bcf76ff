// A client made with node-coap alone: a peer for the interop tests.
// node_client.js METHOD URI [PAYLOAD]; METHOD "observe" goes on until it is ended. Prints "CODE LENGTH TEXT" lines.
const coap = require('coap')
const { URL } = require('url')
const [method, uri, payload] = process.argv.slice(2)
const target = new URL(uri.replace(/^coap:/, 'http:'))
const say = (message, body) => console.log(`${message.code} ${body.length} ${body.toString('latin1').slice(0, 40)}`)
const request = coap.request({
  hostname: target.hostname, port: target.port, pathname: target.pathname,
  method: method === 'observe' ? 'GET' : method.toUpperCase(), observe: method === 'observe'
})
request.on('response', (response) => {
  if (method === 'observe') return response.on('data', (body) => say(response, body))
  say(response, response.payload)
})
request.on('error', (error) => { console.log(`error ${error.message}`); process.exit(1) })
request.end(payload)

// node-coap alone, for the plugtest cases.
// node_etsi.js serve PORT            prints "ready"
// node_etsi.js ask METHOD URI [JSON] one request; JSON: {"options": {"ETag": "hex" …}, "payload": "…", "non": true}
// Prints one line of JSON: code, options as [name, hex], payload.
const coap = require('coap')
const { URL } = require('url')

const text = (response, content) => { response.setOption('Content-Format', 'text/plain'); response.end(content) }

function serve (port) {
  let value = 'this is a test'
  let state = '0'
  const observers = new Set()
  const large = Buffer.from(Array.from({ length: 2000 }, (_, i) => 97 + i % 26))
  const resources = {
    '/test': (request, response) => {
      if (request.method === 'GET') return text(response, value)
      if (request.method === 'PUT') value = request.payload.toString()
      response.code = { PUT: '2.04', POST: '2.01', DELETE: '2.02' }[request.method]
      if (request.method === 'POST') {
        response.setOption('Location-Path', ['location1', 'location2', 'location3'].map(part => Buffer.from(part)))
      }
      response.end()
    },
    '/separate': (request, response) => setTimeout(() => text(response, 'separate'), 1000),
    '/seg1/seg2/seg3': (request, response) => text(response, 'seg1/seg2/seg3'),
    '/query': (request, response) => text(response, request.url.split('?')[1]),
    '/multi-format': (request, response) => {
      const xml = request.headers.Accept === 'application/xml'
      response.setOption('Content-Format', xml ? 'application/xml' : 'text/plain')
      response.end(xml ? '<text/>' : 'text')
    },
    '/large': (request, response) => response.end(large),
    '/obs': (request, response) => {
      if (request.method === 'PUT') {
        state = request.payload.toString()
        response.code = '2.04'
        response.end()
        for (const observer of observers) observer.write(state)
      } else if (request.headers.Observe === 0) {
        observers.add(response)
        response.on('finish', () => observers.delete(response))
        response.write(state)
      } else {
        text(response, state)
      }
    }
  }
  const server = coap.createServer({ type: 'udp4', piggybackReplyMs: 100 }, (request, response) => {
    const resource = resources[request.url.split('?')[0]]
    if (resource) return resource(request, response)
    response.code = '4.04'
    response.end()
  })
  server.listen(port, '127.0.0.1', () => console.log('ready'))
}

function ask (method, uri, wanted) {
  const target = new URL(uri.replace(/^coap:/, 'http:'))
  const request = coap.request({
    hostname: target.hostname, port: target.port, pathname: target.pathname, query: target.search.slice(1),
    method: method.toUpperCase(), confirmable: !wanted.non
  })
  for (const [name, value] of Object.entries(wanted.options || {})) request.setOption(name, Buffer.from(value, 'hex'))
  request.on('response', (response) => {
    const options = response.options.map(({ name, value }) => [String(name), Buffer.from(value).toString('hex')])
    console.log(JSON.stringify({ code: response.code, options, payload: response.payload.toString('latin1') }))
    process.exit(0)
  })
  request.on('error', (error) => { console.log(`error ${error.message}`); process.exit(1) })
  request.end(wanted.payload)
}

const [what, ...rest] = process.argv.slice(2)
if (what === 'serve') serve(Number(rest[0]))
else ask(rest[0], rest[1], JSON.parse(rest[2] || '{}'))

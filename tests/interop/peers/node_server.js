// A server made with node-coap alone: a peer for the interop tests.  node_server.js PORT; prints "ready".
const coap = require('coap')
let value = Buffer.from('00000')
const observers = new Set()
const server = coap.createServer({ type: 'udp4' }, (request, response) => {
  const path = request.url.split('?')[0]
  console.log(`${request.method} ${path} ${request.payload.length} observe=${request.headers.Observe}`)
  if (path === '/hello') return response.end('hello')
  if (path === '/large') return response.end(Buffer.from(Array.from({ length: 65536 }, (_, i) => i % 251)))
  if (path === '/echo') { response.code = '2.04'; return response.end(request.payload) }
  if (path === '/obs' && request.method === 'PUT') {
    value = request.payload
    response.code = '2.04'
    response.end()
    for (const observer of observers) observer.write(value)
    return
  }
  if (path === '/obs' && request.headers.Observe === 0) {
    observers.add(response)
    response.on('finish', () => observers.delete(response))
    return response.write(value)
  }
  if (path === '/obs') return response.end(value)
  response.code = '4.04'
  response.end()
})
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'))

// A framework's view of a path: any case, with or without a slash at the end; and a backend that believes in headers.
import express from 'express'

const [port, marker] = process.argv.slice(2)
const app = express()
const served = []

// What Symfony, Zend, Rack and their kin do with a request before they route it.
app.use((request, response, next) => {
  for (const name of ['x-original-url', 'x-rewrite-url', 'x-forwarded-uri', 'x_original_url']) {
    const url = request.get(name)
    if (url) request.url = url
  }
  for (const name of ['x-http-method-override', 'x-http-method', 'x-method-override', 'x_http_method_override']) {
    const method = request.get(name)
    if (method) request.method = method.toUpperCase()
  }
  next()
})
app.get('/-/served', (request, response) => response.json(served))
app.delete('/-/served', (request, response) => response.json(served.splice(0)))

const sell = (request, response) => {
  served.push(`${request.method} ${request.originalUrl}`)
  response.send(marker)
}
app.all('/premium', sell)
app.all('/premium/*rest', sell)
app.all('/exact', sell)
app.all('/items/:id/full', sell)
app.get('/orders', sell)
app.use((request, response) => response.send('free'))
app.use((error, request, response, next) => response.status(400).send('unreadable'))

app.listen(Number(port), '127.0.0.1', () => console.log('ready'))
// It ends with the test that started it.
process.stdin.resume().on('end', () => process.exit())

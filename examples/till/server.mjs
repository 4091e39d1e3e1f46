// The shop's server, with nothing but Node: it serves the till, has a little shop API, and passes measurements on to
// the collector. Everything that goes over "the line to the internet" can be cut or slowed down.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { fileURLToPath } from 'node:url';
import { imageOf, products } from './products.mjs';

const here = new URL('.', import.meta.url);
const sdk = new URL('../../sdk/dist/', import.meta.url);

const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };

/** Every file there is, by its path: no path of a request ever reaches the disk. */
const FILES = {
  '/': new URL('index.html', here),
  '/till.css': new URL('till.css', here),
  '/till.js': new URL('till.js', here),
  '/store.js': new URL('store.js', here),
  '/watch.js': new URL('watch.js', here),
  '/sw.js': new URL('sw.js', here),
  '/icon.svg': new URL('icon.svg', here),
  '/tillwatch.js': new URL('tillwatch.js', sdk),
  '/tillwatch-worker.js': new URL('tillwatch-worker.js', sdk),
};

/** A real shop would keep hashes. */
const CASHIERS = [
  { id: 'ada', name: 'Ada', pin: '1234' },
  { id: 'grace', name: 'Grace', pin: '2580' },
];

/** What a page may ask the collector's admin listener for. */
const WATCHED = ['/api/v1/percentiles', '/metrics/fleet'];

const SALES_BODY_BYTES_MAX = 1_000_000;

const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy': "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
};

/** Starts it. `collector` and `admin` are the addresses that `tillwatch serve` prints as `ingest` and `admin`. */
export async function startShop({ collector, admin, port = 0, host = '127.0.0.1' }) {
  const line = { isPulled: false, isSlow: false };
  const soldIds = new Set();
  /** Sockets with a request that goes over the line. */
  const underWay = new Set();
  const sockets = new Set();
  const timers = new Set();

  const send = (response, status, body, type = 'application/json') =>
    response.writeHead(status, { ...HEADERS, 'content-type': type + '; charset=utf-8' }).end(body);
  const sendJson = (response, status, value) => send(response, status, JSON.stringify(value));

  async function bodyOf(request) {
    // A page of another origin cannot send this type without asking, and nobody answers it.
    if (!/^application\/json/.test(request.headers['content-type'] || '')) throw new Error('not JSON');
    let text = '';
    for await (const chunk of request.setEncoding('utf8'))
      if ((text += chunk).length > SALES_BODY_BYTES_MAX) throw new Error('too large');
    return JSON.parse(text);
  }

  const wait = (ms) =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(timers.delete(timer)), ms);
      timers.add(timer);
    });

  /** Passes a request on, and its answer back. */
  function pass(request, response, address) {
    const { host: _, connection, ...headers } = request.headers;
    const onward = httpRequest(address, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }

  async function api(request, response, path) {
    await wait(randomInt(20, 151));
    const { method } = request;
    if (method === 'GET' && path === '/api/ping') return sendJson(response, 200, {});
    if (method === 'GET' && path === '/api/products') return sendJson(response, 200, products);
    if (method === 'POST' && path === '/api/login') {
      const { pin } = await bodyOf(request);
      const cashier = CASHIERS.find((one) => one.pin === pin);
      if (!cashier) return sendJson(response, 401, { error: 'This PIN is not known.' });
      return sendJson(response, 200, { id: cashier.id, name: cashier.name });
    }
    if (method === 'POST' && path === '/api/sales') {
      const { sales } = await bodyOf(request);
      // A till that got no answer sends a sale again; its id says that it is the same.
      for (const { id } of sales) soldIds.add(id);
      return sendJson(response, 200, { taken: sales.map(({ id }) => id) });
    }
    sendJson(response, 404, { error: 'There is nothing here.' });
  }

  async function answer(request, response) {
    const { pathname, search } = new URL(request.url, 'http://localhost');
    // Another name would mean that a foreign page has pointed its own name at this machine.
    const names = ['localhost', '127.0.0.1', host].map((name) => `${name}:${server.address().port}`);
    if (!names.includes(request.headers.host)) return sendJson(response, 421, { error: 'This is not my name.' });

    if (pathname === '/plug') {
      if (request.method === 'POST') {
        const { isPulled, isSlow } = await bodyOf(request);
        Object.assign(line, { isPulled: isPulled ?? line.isPulled, isSlow: isSlow ?? line.isSlow });
        if (line.isPulled) for (const socket of underWay) socket.destroy();
      }
      return sendJson(response, 200, line);
    }
    if (pathname.startsWith('/watch/')) {
      const path = pathname.slice('/watch'.length);
      if (request.method !== 'GET' || !WATCHED.includes(path)) return sendJson(response, 404, { error: 'There is nothing here.' });
      return pass(request, response, admin + path + search);
    }

    // From here on everything goes over the line.
    const { socket } = request;
    if (line.isPulled) return socket.destroy();
    underWay.add(socket);
    response.on('close', () => underWay.delete(socket));
    if (line.isSlow && /^\/(api|v1)\//.test(pathname)) {
      await wait(randomInt(3200, 4001));
      if (response.destroyed) return;
    }
    if (pathname.startsWith('/v1/')) return pass(request, response, collector + pathname + search);
    if (pathname.startsWith('/api/')) return api(request, response, pathname);

    const image = imageOf(/^\/images\/(\d+)\.svg$/.exec(pathname)?.[1]);
    if (image) return send(response, 200, image, TYPES.svg);
    const file = FILES[pathname];
    if (!file) return sendJson(response, 404, { error: 'There is nothing here.' });
    send(response, 200, readFileSync(file), TYPES[file.pathname.split('.').pop()]);
  }

  const server = createServer((request, response) => {
    request.on('error', () => {});
    response.on('error', () => {});
    answer(request, response).catch((error) => {
      if (response.headersSent) response.destroy();
      else sendJson(response, 400, { error: error.message });
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, host, resolve));

  return {
    url: `http://localhost:${server.address().port}`,
    soldIds,
    async stop() {
      for (const timer of timers) clearTimeout(timer);
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { DEMO_PORT = '8090', DEMO_COLLECTOR = 'http://127.0.0.1:8080', DEMO_ADMIN = 'http://127.0.0.1:9090' } = process.env;
  try {
    const { url } = await startShop({ collector: DEMO_COLLECTOR, admin: DEMO_ADMIN, port: Number(DEMO_PORT) });
    console.log(`till ready ${url}`);
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}

// Opens many streams with bare sockets and reads whatever comes: node readers.mjs HOST PORT COUNT. It says how many are open, and
// once a second how many bytes came.
import { connect } from 'node:net';

const [host, port, count] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const HEAD = `GET /api/v1/live?topics=fleet HTTP/1.1\r\nHost: ${host}:${port}\r\nAccept-Encoding: gzip\r\n\r\n`;
let [open, bytes, gone] = [0, 0, 0];

async function one() {
  await new Promise((resolve) => {
    const socket = connect(port, host, () => socket.write(HEAD));
    socket.once('data', () => { open += 1; resolve(); });
    socket.on('data', (data) => { bytes += data.length; });
    socket.on('error', resolve);
    socket.on('close', () => { gone += 1; resolve(); });
  });
}
// Some at once: a crowd that comes back does not come one by one, and not all in one packet either.
for (let i = 0; i < count; i += 50) await Promise.all(Array.from({ length: Math.min(50, count - i) }, one));
console.log(`open ${open}`);
setInterval(() => { console.log(`bytes ${bytes} gone ${gone}`); bytes = 0; }, 1_000);

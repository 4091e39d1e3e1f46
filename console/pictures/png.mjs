// A screenshot with at most 256 colours: a page has few, and shades of its letters are near one another.
import { crc32 } from './crc.mjs';
import { deflateSync, inflateSync } from 'node:zlib';

/** The pixels of a PNG of 8 bits a channel, as Chromium writes them. */
function pixels(png) {
  const [width, height, channels] = [png.readUInt32BE(16), png.readUInt32BE(20), png[25] === 6 ? 4 : 3];
  const parts = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const raw = inflateSync(Buffer.concat(parts));
  const stride = width * channels;
  const out = Buffer.alloc(height * stride);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const left = x < channels ? 0 : out[y * stride + x - channels];
      const up = y ? out[(y - 1) * stride + x] : 0;
      const corner = y && x >= channels ? out[(y - 1) * stride + x - channels] : 0;
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      const from = [0, left, up, (left + up) >> 1, a <= b && a <= c ? left : b <= c ? up : corner][filter];
      out[y * stride + x] = raw[y * (stride + 1) + 1 + x] + from;
    }
  }
  return { width, height, colour: (i) => (out[i * channels] << 16) | (out[i * channels + 1] << 8) | out[i * channels + 2] };
}

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

export function small(png) {
  const { width, height, colour } = pixels(png);
  const counts = new Map();
  for (let i = 0; i < width * height; i += 1) counts.set(colour(i), (counts.get(colour(i)) ?? 0) + 1);
  const far = (one, other) => ((one >> 16) - (other >> 16)) ** 2 + (((one >> 8) & 255) - ((other >> 8) & 255)) ** 2 + ((one & 255) - (other & 255)) ** 2;
  // What is far from all others is kept first, or the few dots of a colour of their own would lose it.
  const often = [...counts].sort((one, other) => other[1] - one[1]).map(([one]) => one);
  const kept = [];
  for (const least of [60, 30, 15, 8, 4, 1]) for (const one of often) if (kept.length < 256 && kept.every((other) => far(one, other) >= least ** 2)) kept.push(one);
  const places = new Map(kept.map((one, i) => [one, i]));
  for (const one of counts.keys()) if (!places.has(one)) places.set(one, kept.reduce((best, other, i) => (far(one, other) < far(one, kept[best]) ? i : best), 0));
  const rows = Buffer.alloc(height * (width + 1));
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) rows[y * (width + 1) + 1 + x] = places.get(colour(y * width + x));
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([png.subarray(0, 8), chunk('IHDR', head), chunk('PLTE', Buffer.from(kept.flatMap((one) => [one >> 16, (one >> 8) & 255, one & 255]))), chunk('IDAT', deflateSync(rows, { level: 9 })), chunk('IEND', Buffer.alloc(0))]);
}

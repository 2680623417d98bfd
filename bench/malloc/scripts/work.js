// Buffers of many sizes, JSON, maps, compression: what node takes from malloc, not from V8's heap.
'use strict';
const zlib = require('zlib');
let state = 12345;
function chance(bound) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) % bound;
}
let sum = 0;
let ring = [];
for (let n = 0; n < 120000; n++) {
  const buffer = Buffer.allocUnsafeSlow(64 + chance(4000));
  buffer.writeUInt32LE(n, 0);
  ring[chance(2000)] = buffer;
}
for (const buffer of ring) if (buffer) sum += buffer.readUInt32LE(0) % 7;
console.log(ring.length);
ring = null;
const map = new Map();
for (let n = 0; n < 60000; n++) map.set('key' + chance(30000), { n, text: 'value ' + n });
const text = JSON.stringify([...map.entries()]);
console.log(JSON.parse(text).length, text.length);
for (let n = 0; n < 12; n++) {
  const packed = zlib.deflateSync(Buffer.from(text.slice(n * 1000, n * 1000 + 400000)), { level: 4 });
  sum += zlib.inflateSync(packed).length % 13;
}
console.log(sum);
